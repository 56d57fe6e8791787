//! Numbers of the console (VIRTIO 1.3, 5.3).

/// The size of the terminal is known (5.3.3).
pub const F_SIZE: u64 = 1 << 0;
/// There are control queues, by which the device and the driver tell each other about ports (5.3.3).
pub const F_MULTIPORT: u64 = 1 << 1;
/// The driver may write a character through the configuration (5.3.3).
pub const F_EMERG_WRITE: u64 = 1 << 2;

/// Queue of port 0 towards the guest (5.3.2).
pub const RECEIVE: usize = receive(0);
/// Queue of port 0 from the guest (5.3.2).
pub const TRANSMIT: usize = transmit(0);
/// Queue of control messages towards the guest (5.3.2).
pub const CONTROL_RECEIVE: usize = 2;
/// Queue of control messages from the guest (5.3.2).
pub const CONTROL_TRANSMIT: usize = 3;
/// Most ports: each takes two of the queues that a device can have.
pub const MOST_PORTS: usize = 16;

/// Queue of a port towards the guest. The control queues stand between port 0's and the others' (5.3.2).
pub const fn receive(port: usize) -> usize {
    if port == 0 { 0 } else { 2 + 2 * port }
}

/// Queue of a port from the guest.
pub const fn transmit(port: usize) -> usize {
    receive(port) + 1
}

/// Queues of a device with so many ports, one at least.
pub const fn queues(ports: usize) -> usize {
    2 + 2 * ports
}

/// Offset of the columns and rows, 16 bits each (5.3.4).
pub const CONFIG_SIZE: usize = 0;
/// Offset of the number of ports, 32 bits (5.3.4).
pub const CONFIG_PORTS: usize = 4;
/// Offset of the emergency character (5.3.4).
pub const CONFIG_EMERG_WRITE: u64 = 8;
/// Bytes of the configuration.
pub const CONFIG_BYTES: usize = 12;

/// Bytes of a control message: the port's number (32 bits), event and value (16 bits each) (5.3.6.2).
pub const CONTROL_BYTES: usize = 8;

/// What a control message is about (5.3.6.2).
pub mod event {
    /// The driver is ready for ports.
    pub const DEVICE_READY: u16 = 0;
    /// The device has a port.
    pub const DEVICE_ADD: u16 = 1;
    /// The driver is ready for a port's messages.
    pub const PORT_READY: u16 = 3;
    /// The port is a console.
    pub const CONSOLE_PORT: u16 = 4;
    /// The terminal's size.
    pub const RESIZE: u16 = 5;
    /// The port is open, or not any more, at the side of whoever says so.
    pub const PORT_OPEN: u16 = 6;
    /// The port's name, as text behind the message.
    pub const PORT_NAME: u16 = 7;
}
