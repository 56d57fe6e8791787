//! The whole network, from a fake card with a guest's TCP/IP stack (smoltcp) behind it to real servers on loopback.

mod guest;
mod hostile;
mod services;
mod tcp;
mod tcp_faults;
mod timing;
