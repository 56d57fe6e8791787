/*
 * A program for a PC, started by its PVH entry in 32-bit mode: what it writes to the test device's register and memory it
 * reads back, and ends the machine with what it has read.
 */
	.section .note.PVH, "a", @note
	.balign 4
	.long 4, 4, 18			/* Xen: entry in 32-bit mode */
	.asciz "Xen"
	.long _start

	.text
	.code32
	.globl _start
_start:
	movb	$5, %al
	outb	%al, $0xe0
	xorl	%eax, %eax
	inb	$0xe8, %al
	movl	%eax, 0xff000010
	movl	0xff000010, %eax
	outb	%al, $0xf4
1:	hlt
	jmp	1b
