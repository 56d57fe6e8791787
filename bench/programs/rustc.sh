rustc --edition 2021 -O -C linker=gcc -o /tmp/rust_work /bench/work.rs && exec /tmp/rust_work
