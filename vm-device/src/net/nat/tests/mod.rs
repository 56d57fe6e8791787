//! The whole network, from a fake card with a guest's TCP/IP stack (smoltcp) behind it to real servers on loopback.

mod crowd;
mod guest;
mod hostile;
mod restricted;
mod routed;
mod services;
mod tcp;
mod tcp_faults;
mod timing;
mod v6;
