// The benchmark's workloads in plain C: xoshiro256++ and ziggurat normals, vectorised across paths or coordinates with vectors
// of eight doubles, sums in a fixed order (no -ffast-math). Built by c_yardstick.py; call init() once before anything else.
// gcc 12 packs the generator's four words into one vector, whose load then waits for four separate stores: twice the time.
#pragma GCC optimize("no-tree-slp-vectorize")
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef double v8 __attribute__((vector_size(64)));
typedef int64_t m8 __attribute__((vector_size(64)));

// ---- random numbers

typedef struct { uint64_t s[4]; } rng_t;

static inline uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static inline uint64_t next(rng_t *r) { // xoshiro256++
    uint64_t *s = r->s, result = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static void seed_rng(rng_t *r, uint64_t z) { // splitmix64
    for (int i = 0; i < 4; i++) {
        z += 0x9e3779b97f4a7c15ULL;
        uint64_t x = z;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
        r->s[i] = x ^ (x >> 31);
    }
}

static inline double uniform(rng_t *r) { return ((next(r) >> 11) + 0.5) * 0x1p-53; }

static inline uint32_t below(rng_t *r, uint32_t n) { // Lemire's method, without bias
    uint64_t m = (next(r) >> 32) * n;
    if ((uint32_t)m < n) {
        uint32_t threshold = -n % n;
        while ((uint32_t)m < threshold) m = (next(r) >> 32) * n;
    }
    return m >> 32;
}

// Ziggurat of 256 layers, which init() fills.
static const double TAIL = 3.6541528853610088;
static double wi[256], fi[256];
static uint64_t ki[256];

void init(void) {
    double m = 0x1p52, dn = TAIL, tn = dn, f = exp(-.5 * dn * dn);
    double v = TAIL * f + sqrt(M_PI / 2) * erfc(TAIL / sqrt(2)), q = v / f;
    ki[0] = (uint64_t)(dn / q * m), ki[1] = 0;
    wi[0] = q / m, wi[255] = dn / m;
    fi[0] = 1, fi[255] = f;
    for (int i = 254; i >= 1; i--) {
        dn = sqrt(-2 * log(v / dn + exp(-.5 * dn * dn)));
        ki[i + 1] = (uint64_t)(dn / tn * m);
        tn = dn;
        fi[i] = exp(-.5 * dn * dn), wi[i] = dn / m;
    }
}

static __attribute__((noinline)) double edge(rng_t *r, int layer, double x, int negative, int *accepted) {
    *accepted = 1;
    if (layer == 0)
        for (;;) {
            double a = -log(uniform(r)) / TAIL, b = -log(uniform(r));
            if (b + b > a * a) return negative ? -(TAIL + a) : TAIL + a;
        }
    if ((fi[layer - 1] - fi[layer]) * uniform(r) + fi[layer] < exp(-.5 * x * x)) return x;
    *accepted = 0;
    return 0;
}

static inline double normal(rng_t *r) {
    for (;;) {
        uint64_t u = next(r), bits;
        int layer = u & 255, negative = (u >> 8) & 1, accepted;
        uint64_t magnitude = (u >> 9) & 0xfffffffffffffULL;
        double x = (double)(int64_t)magnitude * wi[layer];
        memcpy(&bits, &x, 8);
        bits |= (uint64_t)negative << 63;
        memcpy(&x, &bits, 8);
        if (__builtin_expect(magnitude < ki[layer], 1)) return x;
        double y = edge(r, layer, x, negative, &accepted);
        if (accepted) return y;
    }
}

// ---- the two-basin toy

static inline v8 select8(m8 mask, v8 a, v8 b) { return (v8)((mask & (m8)a) | (~mask & (m8)b)); }

static inline v8 sqrt8(v8 a) {
    v8 root;
    for (int l = 0; l < 8; l++) root[l] = sqrt(a[l]);
    return root;
}

// Sixteen paths side by side, each with data of its own; final (n_paths, 2). At each step gradient and covariance of the
// gradients are summed over all samples, and the covariance is scaled to the trace `power`.
void toy(uint64_t seed, long n_paths, long n_steps, double eta, double power, long n_data, const double *factor, double *final) {
    rng_t r;
    seed_rng(&r, seed);
    const double c = cos(M_PI / 4), s = sin(M_PI / 4), mean = 1.0 / n_data;
    const v8 zero = {0};
    v8 x[2][n_data][2];
    for (long p = 0; p < n_paths; p += 16) {
        v8 w1[2], w2[2];
        for (int h = 0; h < 2; h++) {
            for (long k = 0; k < n_data; k++)
                for (int l = 0; l < 8; l++) {
                    double a = normal(&r), b = normal(&r);
                    x[h][k][0][l] = factor[0] * a + factor[1] * b;
                    x[h][k][1][l] = factor[2] * a + factor[3] * b;
                }
            w1[h] = w2[h] = zero + 1.0;
        }
        for (long t = 0; t < n_steps; t++)
            for (int h = 0; h < 2; h++) {
                v8 S1 = zero, S2 = zero, S11 = zero, S12 = zero, S22 = zero, W1 = w1[h], W2 = w2[h], z1, z2;
                for (long k = 0; k < n_data; k++) {
                    v8 a1 = (W1 - 1) - x[h][k][0], a2 = (W2 - 1) - x[h][k][1], u = a1 * c - a2 * s, v = a1 * c + a2 * s;
                    v8 b1 = a1 + 2, b2 = a2 + 2;
                    m8 sharp = 10 * (u * u) + 100 * (v * v) < b1 * b1 + b2 * b2;
                    v8 g1 = select8(sharp, (20 * c) * u + (200 * c) * v, 2 * b1);
                    v8 g2 = select8(sharp, (200 * s) * v - (20 * s) * u, 2 * b2);
                    S1 += g1, S2 += g2;
                    S11 += g1 * g1, S12 += g1 * g2, S22 += g2 * g2;
                }
                v8 m1 = S1 * mean, m2 = S2 * mean;
                v8 c11 = S11 * mean - m1 * m1, c12 = S12 * mean - m1 * m2, c22 = S22 * mean - m2 * m2;
                v8 scale = power / (c11 + c22);
                c11 *= scale, c12 *= scale, c22 *= scale;
                v8 l11 = sqrt8(c11), l21 = c12 / l11, rest = c22 - l21 * l21, l22 = sqrt8(select8(rest > 0, rest, zero));
                for (int l = 0; l < 8; l++) z1[l] = normal(&r), z2[l] = normal(&r);
                w1[h] = W1 + l11 * z1 - eta * m1;
                w2[h] = W2 + l21 * z1 + l22 * z2 - eta * m2;
            }
        for (int l = 0; l < 16 && p + l < n_paths; l++)
            final[2 * (p + l)] = w1[l / 8][l % 8], final[2 * (p + l) + 1] = w2[l / 8][l % 8];
    }
}

// ---- Ornstein-Uhlenbeck by Euler-Maruyama in 16 dimensions

// theta <- A theta + B z from zero, with dense A and B given as columns (A_T[j][i] = A[i][j]); theta (n_paths, 16).
void ornstein_uhlenbeck(uint64_t seed, long n_paths, long n_steps, const double *A_T, const double *B_T, double *theta) {
    rng_t r;
    seed_rng(&r, seed);
    const v8 zero = {0};
    v8 A[32], B[32];
    memcpy(A, A_T, sizeof A);
    memcpy(B, B_T, sizeof B);
    for (long p = 0; p < n_paths; p += 4) {
        double th[4][16] __attribute__((aligned(64))) = {{0}}, z[4][16];
        for (long t = 0; t < n_steps; t++) {
            for (int q = 0; q < 4; q++)
                for (int j = 0; j < 16; j++) z[q][j] = normal(&r);
            v8 low[4] = {zero, zero, zero, zero}, high[4] = {zero, zero, zero, zero};
            for (int j = 0; j < 16; j++) {
                v8 a0 = A[2 * j], a1 = A[2 * j + 1], b0 = B[2 * j], b1 = B[2 * j + 1];
                for (int q = 0; q < 4; q++) {
                    low[q] += a0 * th[q][j];
                    high[q] += a1 * th[q][j];
                    low[q] += b0 * z[q][j];
                    high[q] += b1 * z[q][j];
                }
            }
            for (int q = 0; q < 4; q++) memcpy(th[q], &low[q], 64), memcpy(th[q] + 8, &high[q], 64);
        }
        for (int q = 0; q < 4 && p + q < n_paths; q++) memcpy(theta + 16 * (p + q), th[q], 128);
    }
}

// ---- averaged SGD and MSGD for least squares in 20 dimensions

typedef double v4 __attribute__((vector_size(32)));

// Weights 1/B + kappa (z - mean z) on B <= 512 fresh samples a step, all 1/B for kappa = 0. x = root * z, label noise of the given
// standard deviation; risk (n_paths,) of the mean of theta_0 ... theta_n.
void least_squares(uint64_t seed, long n_paths, long n_steps, long B, double kappa, double eta, double noise_std,
                   const double *root, const double *start, double *risk) {
    rng_t r;
    seed_rng(&r, seed);
    const v4 zero = {0};
    double eps[512] = {0};
    for (long p = 0; p < n_paths; p++) {
        v4 delta[5], total[5], gradient[5], x[5], q[5];
        memcpy(delta, start, sizeof delta);
        memcpy(total, start, sizeof total);
        memcpy(q, root, sizeof q);
        for (long t = 0; t < n_steps; t++) {
            double mean = 0;
            if (kappa > 0)
                for (long m = 0; m < B; m++) mean += (eps[m] = normal(&r)) / B;
            for (int i = 0; i < 5; i++) gradient[i] = zero;
            for (long m = 0; m < B; m++) {
                for (int i = 0; i < 20; i++) ((double *)x)[i] = normal(&r);
                double noise = noise_std * normal(&r);
                v4 sum = zero;
                for (int i = 0; i < 5; i++) {
                    x[i] *= q[i];
                    sum += x[i] * delta[i];
                }
                double residual = sum[0] + sum[1] + sum[2] + sum[3] - noise, weight = 1.0 / B + kappa * (eps[m] - mean);
                for (int i = 0; i < 5; i++) gradient[i] += (weight * residual) * x[i];
            }
            for (int i = 0; i < 5; i++) {
                delta[i] -= eta * gradient[i];
                total[i] += delta[i];
            }
        }
        risk[p] = 0;
        for (int i = 0; i < 20; i++) {
            double mean = ((double *)total)[i] / (n_steps + 1);
            risk[p] += 0.5 * root[i] * root[i] * mean * mean;
        }
    }
}

// ---- sampling vectors, w (size, n)

void minibatch_weights(uint64_t seed, long size, long n, long batch_size, double *w) { // with replacement
    rng_t r;
    seed_rng(&r, seed);
    for (long row = 0; row < size; row++, w += n) {
        memset(w, 0, n * sizeof *w);
        for (long k = 0; k < batch_size; k++) w[below(&r, n)] += 1.0 / batch_size;
    }
}

void gaussian_weights(uint64_t seed, long size, long n, double scale, double *w) { // centred
    rng_t r;
    seed_rng(&r, seed);
    for (long row = 0; row < size; row++, w += n) {
        double total = 0;
        for (long i = 0; i < n; i++) total += w[i] = normal(&r);
        for (long i = 0; i < n; i++) w[i] = 1.0 / n + scale * (w[i] - total / n);
    }
}
