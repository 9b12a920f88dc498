//! What holds whatever the sequence: no example is chosen by hand here.

mod folding;
mod members;
mod privileges;
mod purchases;
mod resolution;
mod rotation;
mod story;
