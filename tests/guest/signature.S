# A bare program that shows S on the serial port, leaves a signature and ends by the test device.
        .globl  _start, begin_signature, end_signature
_start: la      t0, begin_signature
        li      t1, 0x01234567
        sw      t1, 0(t0)
        li      t1, -2
        sd      t1, 4(t0)
        li      t0, 0x10000000
        li      t1, 'S'
        sb      t1, 0(t0)
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .

        .data
        .balign 16
        .word   0x11111111
begin_signature:
        .word   0, 0, 0, 0xcafe
end_signature:
        .word   0x22222222
