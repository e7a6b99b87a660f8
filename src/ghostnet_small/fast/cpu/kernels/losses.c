#define OUT_OF_RANGE 2

/* The mean cross-entropy of logits (rows, classes) and their targets, `smoothing` of each target
   spread over all classes; and its gradient. */
EXPORT int cross_entropy(int64_t rows, int classes, const REAL *logits, const int64_t *targets,
                         double smoothing, REAL *loss, REAL *gradient) {
    const double each = smoothing / classes;
    double total = 0;
    for (int64_t r = 0; r < rows; r++, logits += classes, gradient += classes) {
        if (targets[r] < 0 || targets[r] >= classes) return OUT_OF_RANGE;
        const double of_target = (double)logits[targets[r]];
        REAL most = logits[0];
        double sum = 0, plain = 0;
        for (int c = 1; c < classes; c++) most = logits[c] > most ? logits[c] : most;
        for (int c = 0; c < classes; c++) gradient[c] = exponential(logits[c] - most);
        for (int c = 0; c < classes; c++) {
            sum += (double)gradient[c];
            plain += (double)logits[c];
        }
        const double log_sum = log(sum) + (double)most;
        total += log_sum - (1 - smoothing) * of_target - each * plain;
        const REAL scale = (REAL)(1 / sum / rows), less = (REAL)(each / rows);
        for (int c = 0; c < classes; c++) gradient[c] = gradient[c] * scale - less;
        gradient[targets[r]] -= (REAL)((1 - smoothing) / rows);
    }
    *loss = (REAL)(total / rows);
    return 0;
}
