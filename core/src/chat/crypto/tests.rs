//! Encryption between phones that come and go: whoever may read a message can, whoever may not cannot, whatever happened in
//! between.

mod absence;
mod crowd;
mod first;
mod hostile;
mod restart;
mod troubles;
