/* A list of calls of kernels, run as one call: `entries.py` writes a function of the type `Entry`
   for each kernel, which takes the kernel's arguments from slots. */

typedef union {
    void *p;
    int64_t i;
    double d;
} Slot;

typedef int (*Entry)(const Slot *);

typedef struct {
    Entry entry;
    const Slot *slots;
} Call;

/* Returns 0, or the number (from 1) of the call that found no memory. */
EXPORT int64_t replay(const Call *calls, int64_t count) {
    for (int64_t k = 0; k < count; k++)
        if (calls[k].entry(calls[k].slots)) return k + 1;
    return 0;
}
