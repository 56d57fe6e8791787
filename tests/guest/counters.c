// Counts by perf_event_open(2): instructions of a loop of known length, and calls that set the timer.

#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int event(unsigned type, unsigned long long config, int user_only)
{
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.exclude_kernel = user_only;
    return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long long count(int fd)
{
    long long value = -1;
    if (fd < 0 || read(fd, &value, sizeof value) != sizeof value)
        return -1;
    return value;
}

int main(void)
{
    int instructions = event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, 0);
    long rounds = 1000000;
    long long before = count(instructions);
    __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(rounds));
    printf("instructions=%lld.\n", count(instructions) - before);

    // Firmware event 5 of the SBI: a call that sets the timer.
    int timers = event(PERF_TYPE_RAW, 1ull << 63 | 5, 0);
    before = count(timers);
    for (int round = 0; round < 20; round++) {
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, 0);
    }
    printf("timers=%lld.\n", count(timers) - before);
    return 0;
}
