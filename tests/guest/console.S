# A kernel for the built-in SBI: gives back what is typed. The first line goes through the debug console, eight bytes at
# most at a time, the second through the calls of SBI 0.1. Shows I when memory that is not RAM is refused, D and L behind
# the lines, and powers off; an unexpected answer ends the machine as a failure.
        .equ    DBCN, 0x4442434e
        .equ    SRST, 0x53525354
        .equ    INVALID_PARAM, -3

        .globl  _start
_start: li      a0, 8
        li      a1, 0
        li      a2, 0
        li      a6, 1
        li      a7, DBCN
        ecall
        li      t0, INVALID_PARAM
        bne     a0, t0, failed
        li      a0, 'I'
        call    write_byte

read:   li      a0, 8
        la      a1, buffer
        li      a2, 0
        li      a6, 1
        li      a7, DBCN
        ecall
        bnez    a0, failed
        beqz    a1, read
        li      t0, 8
        bgtu    a1, t0, failed
        mv      s0, a1
        mv      a0, s0
        la      a1, buffer
        li      a2, 0
        li      a6, 0
        li      a7, DBCN
        ecall
        bnez    a0, failed
        bne     a1, s0, failed
        la      t0, buffer
        add     t0, t0, s0
        lbu     t1, -1(t0)
        li      t0, '\n'
        bne     t1, t0, read
        li      a0, 'D'
        call    write_byte

getchar:
        li      a7, 2
        ecall
        bltz    a0, getchar
        mv      s0, a0
        li      a7, 1
        ecall
        bnez    a0, failed
        li      t0, '\n'
        bne     s0, t0, getchar
        li      a0, 'L'
        call    write_byte
        li      a1, 0
        j       off

write_byte:
        li      a6, 2
        li      a7, DBCN
        ecall
        bnez    a0, failed
        ret

failed: li      a0, 'F'
        li      a7, 1
        ecall
        li      a1, 1
off:    li      a0, 0
        li      a6, 0
        li      a7, SRST
        ecall
        j       .

        .bss
buffer: .space  8
