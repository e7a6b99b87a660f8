/* Logits become probabilities. */
static void gns_softmax(float *answers, int classes)
{
    float most = answers[0], sum = 0;
    for (int k = 1; k < classes; k++)
        most = answers[k] > most ? answers[k] : most;
    for (int k = 0; k < classes; k++)
        sum += answers[k] = expf(answers[k] - most);
    for (int k = 0; k < classes; k++)
        answers[k] /= sum;
}
