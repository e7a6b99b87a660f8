/* Start of a program on an emulated AArch64 core. */
#include <stddef.h>

static void host(long operation, const void *argument)
{
    register long x0 __asm__("x0") = operation;
    register const void *x1 __asm__("x1") = argument;
    __asm__ volatile("hlt 0xf000" : "+r"(x0) : "r"(x1) : "memory");
}

static unsigned ticks(void)
{
    unsigned long count;
    __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(count));
    return (unsigned)count;
}

static void known_loop(unsigned rounds)
{
    __asm__ volatile("1: subs %w0, %w0, #1\n b.ne 1b" : "+r"(rounds) : : "cc");
}

#include "common.c"

extern unsigned stack_low, stack_top;

/* What compilers call. */
void *memcpy(void *to, const void *from, size_t count)
{
    for (size_t k = 0; k < count; k++)
        ((volatile char *)to)[k] = ((const char *)from)[k];
    return to;
}
void *memset(void *to, int value, size_t count)
{
    for (size_t k = 0; k < count; k++)
        ((volatile char *)to)[k] = (char)value;
    return to;
}

void begin(void);
void begin(void)
{
    static const unsigned long end[2] = {0x20026, 0};
    run_on_a_stack(&stack_low, &stack_top);
    host(0x18, end);
    for (;;)
        ;
}
__asm__(".section .vectors, \"ax\"\n .global reset\n reset:\n"
        "mrs x0, cpacr_el1\n orr x0, x0, #(3 << 20)\n msr cpacr_el1, x0\n isb\n"
        "ldr x0, =stack_top\n mov sp, x0\n b begin\n .ltorg\n .text");
