/* Counts the ticks of one inference on an emulated Cortex-M4, and says them by semihosting. */
#include "model.h"
#include "picture.h"

extern unsigned stack_top, data_start, data_end, data_from, bss_start, bss_end;

static unsigned char workspace[GHOSTNET_WORKSPACE] __attribute__((aligned(64)));
static float answers[GHOSTNET_CLASSES];

void reset(void);
__attribute__((section(".vectors"), used)) static void *const vectors[] = {&stack_top,
                                                                           (void *)reset};

static void host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void say(const char *name, unsigned value)
{
    char line[64];
    int at = 0;
    while (*name)
        line[at++] = *name++;
    for (int shift = 28; shift >= 0; shift -= 4)
        line[at++] = "0123456789abcdef"[value >> shift & 15];
    line[at++] = '\n';
    line[at] = 0;
    host(4, line); /* SYS_WRITE0 */
}

void reset(void)
{
    /* The floating point unit is off after a reset. */
    *(volatile unsigned *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\n isb");
    for (unsigned *to = &data_start, *from = &data_from; to < &data_end;)
        *to++ = *from++;
    for (unsigned *to = &bss_start; to < &bss_end;)
        *to++ = 0;
    /* The board's first timer counts down at 25 MHz. */
    volatile unsigned *const timer = (volatile unsigned *)0x40000000;
    timer[2] = timer[1] = 0xffffffffu;
    timer[0] = 1;
    const unsigned before = timer[1];
    ghostnet_run(picture, answers, workspace);
    say("ticks ", before - timer[1]);
    for (int k = 0; k < GHOSTNET_CLASSES; k++) {
        union { float number; unsigned bits; } answer = {answers[k]};
        say("answer ", answer.bits);
    }
    host(0x18, (void *)0x20026); /* SYS_EXIT, ADP_Stopped_ApplicationExit */
    for (;;)
        ;
}
