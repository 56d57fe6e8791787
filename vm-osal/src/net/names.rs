//! Names of hosts: the resolvers that this host asks, and its own look-up.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr;
use std::time::SystemTime;

use super::Family;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What the C library asks at most.
const RESOLVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;

/// The name servers of this host, unless `seen` says that they are the ones known already. `seen` is kept up to date.
pub fn resolvers(seen: &mut Option<SystemTime>) -> Option<Vec<SocketAddr>> {
    let modified = fs::metadata(RESOLV_CONF)
        .and_then(|data| data.modified())
        .ok();
    if modified.is_some() && modified == *seen {
        return None;
    }
    *seen = modified;
    Some(parse_resolv_conf(
        &fs::read_to_string(RESOLV_CONF).unwrap_or_default(),
    ))
}

/// The `nameserver` lines of resolv.conf(5). Addresses with a scope (link-local) are left out.
pub(super) fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, DNS_PORT))
    };
    text.lines()
        .filter_map(server)
        .take(RESOLVERS_MAX)
        .collect()
}

/// Why a name could not be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUpError {
    /// There is no such name.
    NoSuchName,
    /// Nobody could be asked, or the answer was a failure.
    Failed,
}

/// Looks a name up as every program of this host does (`getaddrinfo`): files, name servers and what else is set up.
/// Blocks. No address of this family for a name that exists is an empty list.
///
/// # Errors
/// [`LookUpError`].
pub fn look_up(name: &str, family: Family) -> Result<Vec<IpAddr>, LookUpError> {
    let name = CString::new(name).map_err(|_| LookUpError::NoSuchName)?;
    let hints = libc::addrinfo {
        ai_flags: 0,
        ai_family: match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        },
        // One entry for each address.
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut list = ptr::null_mut();
    // SAFETY: the name ends in a zero byte, the hints are whole, and `list` is where the result goes.
    let status =
        unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    match status {
        0 => {}
        libc::EAI_NONAME => return Err(LookUpError::NoSuchName),
        EAI_NODATA | EAI_ADDRFAMILY => return Ok(Vec::new()),
        _ => return Err(LookUpError::Failed),
    }
    let mut addresses = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: the call succeeded, so `list` is a chain of whole entries, whose address has the type that the
        // family says; nothing frees it before `freeaddrinfo` below.
        unsafe {
            let address = (*entry).ai_addr;
            match (*entry).ai_family {
                libc::AF_INET => {
                    let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                    addresses.push(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into());
                }
                libc::AF_INET6 => {
                    let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                    addresses.push(Ipv6Addr::from(address.sin6_addr.s6_addr).into());
                }
                _ => {}
            }
            entry = (*entry).ai_next;
        }
    }
    // SAFETY: `list` came from `getaddrinfo` and is not used any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

/// The name exists, but has no address of the wanted family: values of GNU's C library, which others do not use.
const EAI_ADDRFAMILY: i32 = -9;
const EAI_NODATA: i32 = -5;
