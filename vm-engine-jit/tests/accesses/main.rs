//! What accesses to memory do at borders, in the interpreter and in translated code: of protected memory, of pages, of
//! RAM; and what another virtual CPU does to a reservation.

mod borders;
mod groups;
mod machine;
mod protection;
mod reservations;
