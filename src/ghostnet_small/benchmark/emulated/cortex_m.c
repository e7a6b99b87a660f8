/* Start of a program on an emulated Cortex-M. */
static void host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

/* SysTick counts down 24 bits at the processor's clock, and its interrupt how often it has. */
#define SYSTICK ((volatile unsigned *)0xe000e010)
static volatile unsigned wraps;

static void wrapped(void)
{
    wraps++;
}

static unsigned ticks(void)
{
    unsigned before, now;
    do {
        before = wraps;
        now = SYSTICK[2];
    } while (before != wraps);
    return (before << 24) + (0xffffff - now);
}

static void known_loop(unsigned rounds)
{
    __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
}

#include "common.c"

extern unsigned stack_low, stack_top, bss_start, bss_end;

void reset(void);
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_top, (void *)reset, [15] = (void *)wrapped};

void reset(void)
{
    /* The floating point unit is off after a reset. */
    *(volatile unsigned *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\n isb");
    for (unsigned *to = &bss_start; to < &bss_end;)
        *to++ = 0;
    SYSTICK[1] = 0xffffff;
    SYSTICK[2] = 0;
    SYSTICK[0] = 7;
    run_on_a_stack(&stack_low, &stack_top);
    host(0x18, (void *)0x20026); /* SYS_EXIT, ADP_Stopped_ApplicationExit */
    for (;;)
        ;
}
