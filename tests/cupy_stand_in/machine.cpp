// Runs a kernel's threads on one CPU core, block after block.
//
// A kernel without barriers is one call per thread. With barriers the threads of a block are fibres, each with its own
// stack (made by ucontext, switched by longjmp): one runs until it must wait or is done, then the next. A bad
// memory access, an index outside an array of fixed size (compiled to a trap) or a barrier that not all threads reach
// ends the launch with a code for the error.
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct uint3 { unsigned x, y, z; };
struct Machine {  // as in cuda.h
    uint3 *thread, *block, *block_size, *grid_size;
    char *shared_begin, *shared_end, *dynamic_shared;
    void (*wait)(int warp_only);
    unsigned long long (*lanes)[32];
};
enum Result { DONE, DIVERGED };  // or the number of a signal
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, FINISHED };

static const int MOST_THREADS = 1024, WARP = 32;
static const size_t STACK = 64 << 10;
struct Fibre {
    jmp_buf context;  // where it resumes
    State state;
};
static Fibre fibres[MOST_THREADS];
static int made;  // fibres [0, made) exist: each runs one thread of each block
static ucontext_t starting;
static jmp_buf scheduler;
static unsigned long long lanes[MOST_THREADS / WARP][WARP];
static int current, count;
static Machine *machine;
static void (*kernel)(void **);
static void **arguments;
static sigjmp_buf escape;
static char *fault_address;

static void select(int thread) {
    uint3 size = *machine->block_size;
    *machine->thread = {thread % size.x, thread / size.x % size.y, thread / (size.x * size.y)};
    machine->lanes = &lanes[thread / WARP];
    current = thread;
}

// Return from the current fibre, in a state, to the scheduler. It resumes here.
static void leave(State state) {
    fibres[current].state = state;
    if (!_setjmp(fibres[current].context)) _longjmp(scheduler, 1);  // these two save no signal mask: no system call
}

static void wait(int warp_only) { leave(warp_only ? AT_WARP_BARRIER : AT_BLOCK_BARRIER); }

static void fibre(int number) {
    if (!_setjmp(fibres[number].context)) setcontext(&starting);
    for (;;) {
        kernel(arguments);
        leave(FINISHED);
    }
}

static void make_fibres() {
    static char *stacks = (char *)mmap(nullptr, MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (; made < count; made++) {
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = stacks + made * STACK;
        context.uc_stack.ss_size = STACK;
        makecontext(&context, (void (*)())fibre, 1, made);
        swapcontext(&starting, &context);
    }
}

// Release threads [first, last) if all of them wait at this barrier. Returns whether they were released.
static bool release(int first, int last, State barrier) {
    for (int t = first; t < last; t++)
        if (fibres[t].state != barrier) return false;
    for (int t = first; t < last; t++) fibres[t].state = READY;
    return true;
}

static Result run_fibres(bool reversed) {
    make_fibres();
    for (int t = 0; t < count; t++) fibres[t].state = READY;
    for (;;) {
        int finished = 0;
        for (volatile int i = 0; i < count; i++) {
            int t = reversed ? count - 1 - i : i;
            if (fibres[t].state != READY) continue;
            select(t);
            if (!_setjmp(scheduler)) _longjmp(fibres[t].context, 1);
        }
        for (int t = 0; t < count; t++) finished += fibres[t].state == FINISHED;
        if (finished == count) return DONE;
        bool moved = release(0, count, AT_BLOCK_BARRIER);
        for (int t = 0; t < count; t += WARP) moved |= release(t, t + WARP < count ? t + WARP : count, AT_WARP_BARRIER);
        if (!moved) return DIVERGED;
    }
}

static Result run_block(bool has_barriers, bool reversed) {
    if (has_barriers) return run_fibres(reversed);
    for (int i = 0; i < count; i++) {
        select(reversed ? count - 1 - i : i);
        kernel(arguments);
    }
    return DONE;
}

static void on_signal(int number, siginfo_t *info, void *) {
    fault_address = (char *)info->si_addr;
    siglongjmp(escape, number);
}

// Runs the kernel over the grid. Returns DONE, DIVERGED or the signal that ended it; the machine has the position.
extern "C" __attribute__((visibility("default"))) int run(Machine *m, void (*k)(void **), void **a, const unsigned grid[3], const unsigned block[3],
                   char *dynamic_shared, size_t dynamic_bytes, int has_barriers, int reversed, char **address) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {}, before[4];
    machine = m, kernel = k, arguments = a;
    *m->grid_size = {grid[0], grid[1], grid[2]};
    *m->block_size = {block[0], block[1], block[2]};
    m->dynamic_shared = dynamic_shared, m->wait = wait;
    count = block[0] * block[1] * block[2];
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 4; i++) sigaction(signals[i], &action, &before[i]);
    volatile int result = sigsetjmp(escape, 1);
    if (result == DONE) {
        unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
        for (unsigned long long i = 0; i < blocks && result == DONE; i++) {
            unsigned long long b = reversed ? blocks - 1 - i : i;
            *m->block = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
            memset(m->shared_begin, 0xff, m->shared_end - m->shared_begin);
            memset(dynamic_shared, 0xff, dynamic_bytes);
            result = run_block(has_barriers, reversed);
        }
    }
    if (result != DONE) made = 0;  // fibres are stuck in this kernel
    *address = fault_address;
    for (int i = 0; i < 4; i++) sigaction(signals[i], &before[i], nullptr);
    return result;
}
