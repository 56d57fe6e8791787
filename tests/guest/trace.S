# A bare program for traces: all registers, loads and stores, branches both ways, calls, atomics, a trap.
        .globl  _start, traced
_start: .irp    n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        li      x\n, 0
        .endr
traced: la      sp, stack
        la      t0, handler
        csrw    mtvec, t0
        li      s0, 200
        li      s1, 0x9e3779b97f4a7c15
        la      s2, data
round:  mul     s1, s1, s1
        addi    s1, s1, 13
        mulhu   s3, s1, s0
        divu    s4, s1, s0
        remw    s5, s1, s0
        xor     s6, s6, s1
        sd      s6, 0(s2)
        lh      s7, 2(s2)
        lbu     s8, 5(s2)
        amoadd.d s9, s3, (s2)
again:  lr.w    s10, (s2)
        addw    s10, s10, s0
        sc.w    s11, s10, (s2)
        bnez    s11, again
        andi    t1, s1, 1
        beqz    t1, even
        call    odd
        j       next
even:   ecall
next:   addi    s0, s0, -1
        bnez    s0, round
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .

odd:    addi    sp, sp, -16
        sd      ra, 8(sp)
        sraiw   a0, s1, 7
        sltu    a1, s1, s6
        ld      ra, 8(sp)
        addi    sp, sp, 16
        ret

        .balign 4
handler:
        csrr    a2, mcause
        csrr    a3, mepc
        addi    a3, a3, 4
        csrw    mepc, a3
        mret

        .data
        .balign 16
data:   .dword  0
        .space  256
stack:
