//! What tests of helpers put around a vCPU.

/// The named methods of [`crate::SysEnv`] for surroundings without what they reach: they take what they are given, and
/// give zero, nothing or success.
macro_rules! sys_env_without {
    ($state:ty: $($method:ident)*) => {
        $(sys_env_without!(@ $method $state);)*
    };
    (@ vcpu $state:ty) => {
        fn vcpu(&self) -> vm_core::VcpuId {
            vm_core::VcpuId(0)
        }
    };
    (@ time $state:ty) => {
        fn time(&self) -> u64 {
            0
        }
    };
    (@ lines $state:ty) => {
        fn lines(&self) -> u64 {
            0
        }
        fn set_lines(&mut self, _: u64, _: u64) {}
    };
    (@ timer $state:ty) => {
        fn set_timer(&mut self, _: u32, _: Option<u64>) {}
    };
    (@ flush $state:ty) => {
        fn flush(&mut self, _: $crate::guest::FlushScope) {}
    };
    (@ engine $state:ty) => {
        fn state_changed(&mut self) {}
        fn request(&mut self, _: $crate::guest::Request) {}
        fn retired(&self) -> u64 {
            0
        }
    };
    (@ zero $state:ty) => {
        fn zero(
            &mut self,
            _: &$state,
            _: vm_core::GuestVirtAddr,
            _: u64,
        ) -> Result<(), $crate::guest::Exception> {
            Ok(())
        }
    };
    (@ probe $state:ty) => {
        fn probe(
            &mut self,
            _: &$state,
            _: vm_core::GuestVirtAddr,
            _: u64,
            _: $crate::guest::Access,
        ) -> Result<(), $crate::guest::Exception> {
            Ok(())
        }
    };
    (@ random $state:ty) => {
        fn random(&mut self) -> u64 {
            0
        }
    };
    (@ pieces $state:ty) => {
        fn copy_bytes(&mut self, _: &$state, _: u64, _: u64, _: u64) -> u64 {
            0
        }
        fn fill_bytes(&mut self, _: &$state, _: u64, _: u64, _: u64) -> u64 {
            0
        }
        fn load_bytes(&mut self, _: &$state, _: u64, _: &mut [u8]) -> usize {
            0
        }
    };
    (@ ports $state:ty) => {
        fn port_read(&mut self, _: u16, _: vm_core::AccessWidth) -> u64 {
            0
        }
        fn port_write(&mut self, _: u16, _: vm_core::AccessWidth, _: u64) {}
    };
    (@ local_irq $state:ty) => {
        fn acknowledge_interrupt(&mut self) -> Option<u32> {
            None
        }
        fn take_startup(&mut self) -> Option<u32> {
            None
        }
        fn init_local_irq(&mut self) {}
        fn local_irq_read(&mut self, _: u32) -> Option<u64> {
            None
        }
        fn local_irq_write(&mut self, _: u32, _: u64) -> bool {
            false
        }
    };
}
