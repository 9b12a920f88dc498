//! A whole platform over an epoch change: nobody but the relay has to be started again.
