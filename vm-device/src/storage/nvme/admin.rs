//! Admin commands (NVM Express 1.4, 5).

use vm_core::PAGE_BYTES;
use vm_mem::GuestMemory;

use super::State;
use super::io::Namespace;
use super::prp::Pages;
use super::queue::{Command, Completion, Submission};
use super::spec::{
    EVENTS, ID, QUEUE_ENTRIES, QUEUES, TRANSFER_PAGES, VERSION_VALUE, admin, feature, status,
};

/// What an admin command leaves: a result, or none yet.
pub(super) type Ended = Result<Option<u32>, u16>;

/// Puts text into a field, with blanks at the end.
fn text(field: &mut [u8], value: &str) {
    field.fill(b' ');
    for (cell, byte) in field.iter_mut().zip(value.bytes()) {
        *cell = if byte.is_ascii_graphic() { byte } else { b' ' };
    }
}

impl State {
    /// Carries an admin command out.
    pub(super) fn admin(
        &mut self,
        command: &Command,
        namespace: &Namespace,
        memory: &GuestMemory,
        vectors: u16,
    ) -> Ended {
        let done = |result: Result<(), u16>| result.map(|()| Some(0));
        match command.opcode() {
            admin::IDENTIFY => done(self.identify(command, namespace, memory)),
            admin::CREATE_COMPLETION => done(self.create_completion(command, vectors)),
            admin::CREATE_SUBMISSION => done(self.create_submission(command)),
            admin::DELETE_COMPLETION => done(self.delete_completion(command)),
            admin::DELETE_SUBMISSION => done(self.delete_submission(command)),
            admin::SET_FEATURES => self.set_feature(command),
            admin::GET_FEATURES => self.get_feature(command),
            admin::LOG => done(Self::log(command, memory)),
            // Not aborted: what is under way ends by itself.
            admin::ABORT => Ok(Some(1)),
            admin::EVENT if self.events < EVENTS => {
                // There is never anything to tell.
                self.events += 1;
                Ok(None)
            }
            admin::EVENT => Err(status::EVENT_LIMIT),
            _ => Err(status::BAD_OPCODE),
        }
    }

    fn identify(
        &self,
        command: &Command,
        namespace: &Namespace,
        memory: &GuestMemory,
    ) -> Result<(), u16> {
        let mut data = vec![0; PAGE_BYTES as usize];
        match command.argument(10) as u8 {
            0 if command.namespace() == 1 => identify_namespace(&mut data, namespace),
            0 => return Err(status::BAD_NAMESPACE),
            1 => identify_controller(&mut data, namespace),
            // Active namespaces above the one that is named.
            2 if command.namespace() < 1 => data[0] = 1,
            2 => {}
            // What identifies the namespace: a UUID of the serial number's making.
            3 if command.namespace() == 1 => {
                (data[0], data[1]) = (3, 16);
                text(&mut data[4..20], &namespace.serial);
            }
            _ => return Err(status::BAD_FIELD),
        }
        Pages::new(memory, command.pages(), PAGE_BYTES).write(&data)
    }

    /// A queue's number and entries.
    fn queue_of(command: &Command) -> Result<(usize, u32), u16> {
        let number = (command.argument(10) & 0xffff) as usize;
        let entries = (command.argument(10) >> 16) + 1;
        if number == 0 || number >= QUEUES {
            return Err(status::BAD_QUEUE);
        }
        if !(2..=QUEUE_ENTRIES).contains(&entries) {
            return Err(status::BAD_SIZE);
        }
        // Contiguous, on a page.
        let [base, _] = command.pages();
        if command.argument(11) & 1 == 0 || !base.is_multiple_of(PAGE_BYTES) {
            return Err(status::BAD_FIELD);
        }
        Ok((number, entries))
    }

    fn create_completion(&mut self, command: &Command, vectors: u16) -> Result<(), u16> {
        let (number, entries) = Self::queue_of(command)?;
        let interrupts = command.argument(11) & 2 != 0;
        let vector = (command.argument(11) >> 16) as u16;
        if interrupts && vector >= vectors {
            return Err(status::BAD_VECTOR);
        }
        let free = self
            .completions
            .get_mut(number)
            .filter(|queue| queue.is_none());
        let [base, _] = command.pages();
        *free.ok_or(status::BAD_QUEUE)? =
            Some(Completion::new(base, entries, interrupts.then_some(vector)));
        Ok(())
    }

    fn create_submission(&mut self, command: &Command) -> Result<(), u16> {
        let (number, entries) = Self::queue_of(command)?;
        let completion = (command.argument(11) >> 16) as usize;
        let known = completion != 0 && matches!(self.completions.get(completion), Some(Some(_)));
        if !known {
            return Err(status::BAD_COMPLETION);
        }
        let free = self
            .submissions
            .get_mut(number)
            .filter(|queue| queue.is_none());
        let [base, _] = command.pages();
        *free.ok_or(status::BAD_QUEUE)? = Some(Submission::new(base, entries, completion));
        Ok(())
    }

    fn delete_completion(&mut self, command: &Command) -> Result<(), u16> {
        let number = (command.argument(10) & 0xffff) as usize;
        let users = self.submissions.iter().flatten();
        if users.filter(|queue| queue.completion == number).count() != 0 && number != 0 {
            return Err(status::IN_USE);
        }
        match self.completions.get_mut(number).filter(|_| number != 0) {
            Some(queue @ Some(_)) => *queue = None,
            _ => return Err(status::BAD_QUEUE),
        }
        Ok(())
    }

    fn delete_submission(&mut self, command: &Command) -> Result<(), u16> {
        let number = (command.argument(10) & 0xffff) as usize;
        match self.submissions.get_mut(number).filter(|_| number != 0) {
            Some(queue @ Some(_)) => *queue = None,
            _ => return Err(status::BAD_QUEUE),
        }
        Ok(())
    }

    fn queues_result() -> u32 {
        let most = QUEUES as u32 - 2;
        most | most << 16
    }

    fn set_feature(&mut self, command: &Command) -> Ended {
        let (number, value) = (command.argument(10) as u8, command.argument(11));
        match number {
            feature::QUEUES => Ok(Some(Self::queues_result())),
            feature::WRITE_CACHE => {
                self.write_cache = value & 1 != 0;
                Ok(Some(0))
            }
            _ if feature::KEPT.contains(&number) => {
                self.features[usize::from(number & 15)] = value;
                Ok(Some(0))
            }
            _ => Err(status::BAD_FIELD),
        }
    }

    fn get_feature(&self, command: &Command) -> Ended {
        let number = command.argument(10) as u8;
        match number {
            feature::QUEUES => Ok(Some(Self::queues_result())),
            feature::WRITE_CACHE => Ok(Some(self.write_cache.into())),
            _ if feature::KEPT.contains(&number) => {
                Ok(Some(self.features[usize::from(number & 15)]))
            }
            _ => Err(status::BAD_FIELD),
        }
    }

    /// Error information, health and firmware slots, all without events.
    fn log(command: &Command, memory: &GuestMemory) -> Result<(), u16> {
        let words = u64::from(command.argument(10) >> 16) + 1;
        let bytes = (words * 4).min(PAGE_BYTES);
        let mut data = vec![0; bytes as usize];
        let mut put = |at: usize, value: u8| {
            if let Some(cell) = data.get_mut(at) {
                *cell = value;
            }
        };
        match command.argument(10) as u8 {
            1 => {}
            2 => {
                // 300 K, all spare blocks, of which a tenth must be there.
                put(1, 0x2c);
                put(2, 0x01);
                put(3, 100);
                put(4, 10);
            }
            3 => put(0, 1),
            _ => return Err(status::BAD_LOG),
        }
        Pages::new(memory, command.pages(), bytes).write(&data)
    }
}

/// Identify Namespace data (5.15.2.1).
fn identify_namespace(data: &mut [u8], namespace: &Namespace) {
    let blocks = namespace.blocks().to_le_bytes();
    for at in [0, 8, 16] {
        data[at..at + 8].copy_from_slice(&blocks);
    }
    // Thin: deallocation works; one format, of 512 bytes.
    data[24] = 1;
    data[99] = u8::from(namespace.backend.read_only());
    data[130] = 9;
}

/// Identify Controller data (5.15.2.2).
fn identify_controller(data: &mut [u8], namespace: &Namespace) {
    data[..2].copy_from_slice(&ID.0.to_le_bytes());
    data[2..4].copy_from_slice(&0x1af4u16.to_le_bytes());
    text(&mut data[4..24], &namespace.serial);
    text(&mut data[24..64], "VIRTUAL NVME DISK");
    text(&mut data[64..72], "1.0");
    data[77] = TRANSFER_PAGES;
    data[80..84].copy_from_slice(&VERSION_VALUE.to_le_bytes());
    // An I/O controller.
    data[111] = 1;
    data[259] = EVENTS - 1;
    // One firmware slot that cannot be written.
    data[260] = 3;
    // Warning and critical temperature: 343 K and 373 K.
    data[266..268].copy_from_slice(&343u16.to_le_bytes());
    data[268..270].copy_from_slice(&373u16.to_le_bytes());
    // Sizes of entries: 64 and 16 bytes.
    (data[512], data[513]) = (0x66, 0x44);
    data[516] = 1;
    // Dataset management, write zeroes.
    data[520] = 1 << 2 | 1 << 3;
    // A volatile write cache.
    data[525] = 1;
    let name = format!("nqn.2014-08.org.nvmexpress:{}", namespace.serial);
    let bytes = name.as_bytes();
    let length = bytes.len().min(223);
    data[768..768 + length].copy_from_slice(&bytes[..length]);
}
