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

// Sixteen paths side by side, each with data of its own; final (n_paths, 2). At each step gradient and, for the dynamics that
// take it, covariance of the gradients are summed over all samples, and the covariance is scaled to the trace `power`.
enum { GD, CONST, DIAG, LEADING, HESSIAN, EIGVEC, SGD };

static inline __attribute__((always_inline)) void toy_of(const int kind, rng_t *r, long n_paths, long n_steps, double eta,
                                                         double power, long n_data, long batch_size, const double *factor,
                                                         double *final) {
    const double c = cos(M_PI / 4), s = sin(M_PI / 4), mean = 1.0 / n_data;
    const v8 zero = {0}, one = zero + 1.0;
    v8 x[2][n_data][2];
    for (long p = 0; p < n_paths; p += 16) {
        v8 w1[2], w2[2];
        for (int h = 0; h < 2; h++) {
            for (long k = 0; k < n_data; k++)
                for (int l = 0; l < 8; l++) {
                    double a = normal(r), b = normal(r);
                    x[h][k][0][l] = factor[0] * a + factor[1] * b;
                    x[h][k][1][l] = factor[2] * a + factor[3] * b;
                }
            w1[h] = w2[h] = one;
        }
        for (long t = 0; t < n_steps; t++)
            for (int h = 0; h < 2; h++) {
                v8 S1 = zero, S2 = zero, S11 = zero, S12 = zero, S22 = zero, sharp = zero, W1 = w1[h], W2 = w2[h], z1 = zero, z2 = zero;
                const long n_terms = kind == SGD ? batch_size : n_data;
                const double per_term = 1.0 / n_terms;
                for (long k = 0; k < n_terms; k++) {
                    v8 x1, x2;
                    if (kind == SGD)
                        for (int l = 0; l < 8; l++) {
                            uint32_t i = below(r, n_data);
                            x1[l] = x[h][i][0][l], x2[l] = x[h][i][1][l];
                        }
                    else
                        x1 = x[h][k][0], x2 = x[h][k][1];
                    v8 a1 = (W1 - 1) - x1, a2 = (W2 - 1) - x2, u = a1 * c - a2 * s, v = a1 * c + a2 * s, b1 = a1 + 2, b2 = a2 + 2;
                    m8 inside = 10 * (u * u) + 100 * (v * v) < b1 * b1 + b2 * b2;
                    v8 g1 = select8(inside, (20 * c) * u + (200 * c) * v, 2 * b1);
                    v8 g2 = select8(inside, (200 * s) * v - (20 * s) * u, 2 * b2);
                    S1 += g1, S2 += g2;
                    if (kind == DIAG || kind == LEADING) S11 += g1 * g1, S12 += g1 * g2, S22 += g2 * g2;
                    if (kind == HESSIAN || kind == EIGVEC) sharp += select8(inside, one, zero);
                }
                v8 share = sharp * mean, m1 = S1 * per_term, m2 = S2 * per_term, c11 = one, c12 = zero, c22 = one;
                if (kind == DIAG || kind == LEADING) {
                    c11 = S11 * mean - m1 * m1, c22 = S22 * mean - m2 * m2;
                    if (kind == LEADING) c12 = S12 * mean - m1 * m2;
                } else if (kind == HESSIAN) {
                    c11 = c22 = 110 * share + 2 * (1 - share), c12 = 90 * share;
                } else if (kind == EIGVEC) {
                    m8 flat = share == 0;
                    c11 = c12 = select8(flat, zero, one), c22 = one;
                }
                v8 scale = power / (c11 + c22);
                c11 *= scale, c12 *= scale, c22 *= scale;
                v8 l11 = sqrt8(c11), l21 = select8(l11 > 0, c12 / l11, sqrt8(c22));
                v8 rest = c22 - l21 * l21, l22 = sqrt8(select8(rest > 0, rest, zero));
                if (kind != GD && kind != SGD)
                    for (int l = 0; l < 8; l++) {
                        z1[l] = normal(r);
                        if (kind != EIGVEC) z2[l] = normal(r);
                    }
                w1[h] = W1 + l11 * z1 - eta * m1;
                w2[h] = W2 + l21 * z1 + l22 * z2 - eta * m2;
            }
        for (int l = 0; l < 16 && p + l < n_paths; l++)
            final[2 * (p + l)] = w1[l / 8][l % 8], final[2 * (p + l) + 1] = w2[l / 8][l % 8];
    }
}

void toy(uint64_t seed, long kind, long n_paths, long n_steps, double eta, double power, long n_data, long batch_size,
         const double *factor, double *final) {
    rng_t r;
    seed_rng(&r, seed);
    switch (kind) { // a function of each, with the kind known to the compiler
#define CASE(K)                                                                                                                     \
    case K:                                                                                                                         \
        toy_of(K, &r, n_paths, n_steps, eta, power, n_data, batch_size, factor, final);                                             \
        break;
        CASE(GD) CASE(CONST) CASE(DIAG) CASE(LEADING) CASE(HESSIAN) CASE(EIGVEC) CASE(SGD)
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

// ---- M-SGD and its SDE on one Brownian path

// Gradients of sqrt(1 + r^2) - 1 for two rows (a, b, y) of data, r = a u + b v - y: their mean, and their sum with weights.
#define GRADIENTS(u, v, m0, m1, n0, n1)                                                                                             \
    v8 m0 = zero, m1 = zero, n0 = zero, n1 = zero;                                                                                  \
    for (int i = 0; i < 2; i++) {                                                                                                   \
        double a = data[3 * i], b = data[3 * i + 1], label = data[3 * i + 2];                                                       \
        v8 r = a * u + b * v - label, s = r / sqrt8(1 + r * r);                                                                         \
        m0 += 0.5 * (s * a), m1 += 0.5 * (s * b), n0 += s * a * weight[i], n1 += s * b * weight[i];                                 \
    }

// Eight paths side by side from `start`: n_steps steps of M-SGD with Gaussian weights of the given strength, and of
// Euler-Maruyama in `refinement` parts of each, its drift corrected to first order in its step. Squared distances of the last
// points.
void coupled(uint64_t seed, long n_paths, long n_steps, long refinement, double eta, double strength, const double *data,
             const double *start, double *distance) {
    rng_t r;
    seed_rng(&r, seed);
    const v8 zero = {0};
    const double h = eta / refinement, root = sqrt(h), apart = 1e-6;
    for (long p = 0; p < n_paths; p += 8) {
        v8 x = zero + start[0], y = zero + start[1], X = x, Y = y, weight[2], path[2];
        for (long t = 0; t < n_steps; t++) {
            path[0] = path[1] = zero;
            for (long k = 0; k < refinement; k++) {
                for (int i = 0; i < 2; i++) {
                    for (int l = 0; l < 8; l++) weight[i][l] = normal(&r);
                    weight[i] *= root;
                    path[i] += weight[i];
                    weight[i] *= strength;
                }
                GRADIENTS(X, Y, g0, g1, noise0, noise1)
                v8 u = X + apart * g0, v = Y + apart * g1;
                GRADIENTS(u, v, c0, c1, unused0, unused1)
                (void)unused0, (void)unused1;
                X -= h * g0 + noise0 - (0.5 * h * h / apart) * (c0 - g0);
                Y -= h * g1 + noise1 - (0.5 * h * h / apart) * (c1 - g1);
            }
            for (int i = 0; i < 2; i++) weight[i] = path[i] * strength;
            GRADIENTS(x, y, g0, g1, noise0, noise1)
            x -= eta * g0 + noise0;
            y -= eta * g1 + noise1;
        }
        v8 squared = (x - X) * (x - X) + (y - Y) * (y - Y);
        for (int l = 0; l < 8 && p + l < n_paths; l++) distance[p + l] = squared[l];
    }
}

void normals(uint64_t seed, long n_paths, long n, double *mean) {
    rng_t r;
    seed_rng(&r, seed);
    for (long p = 0; p < n_paths; p++) {
        double total = 0;
        for (long i = 0; i < n; i++) total += normal(&r);
        mean[p] = total / n;
    }
}

// ---- sampling vectors, w (size, n)

enum { MINIBATCH, MINIBATCH_WITHOUT, GAUSSIAN, RADEMACHER, STUDENT, BERNOULLI, FISHER, COV, PRINTED, GAUSSIAN_MINIBATCH };

static double gamma_of(rng_t *r, double shape) { // Marsaglia and Tsang; shape >= 1
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = normal(r), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        double u = uniform(r);
        if (u < 1 - 0.0331 * (x * x) * (x * x) || log(u) < 0.5 * x * x + d * (1 - v + log(v))) return d * v;
    }
}

static inline __attribute__((always_inline)) void weights_of(const int kind, rng_t *r, long n, long b, double scale, double df,
                                                             long *pool, double *w) {
    double total = 0;
    switch (kind) {
    case GAUSSIAN: case RADEMACHER: case STUDENT:
        for (long i = 0; i < n; i++) {
            if (kind == GAUSSIAN) w[i] = normal(r);
            else if (kind == RADEMACHER) w[i] = next(r) >> 63 ? 1.0 : -1.0;
            else w[i] = normal(r) * sqrt(df / 2 / gamma_of(r, df / 2));
            total += w[i];
        }
        for (long i = 0; i < n; i++) w[i] = 1.0 / n + scale * (w[i] - total / n);
        return;
    case BERNOULLI:
        for (long i = 0; i < n; i++) w[i] = uniform(r) < (double)b / n ? 1.0 / b : 0.0;
        return;
    case MINIBATCH: case MINIBATCH_WITHOUT: case GAUSSIAN_MINIBATCH:
        memset(w, 0, n * sizeof *w);
        for (long k = 0; k < b; k++) {
            if (kind == MINIBATCH_WITHOUT) {
                long i = k + below(r, n - k), chosen = pool[i];
                pool[i] = pool[k], pool[k] = chosen;
                w[chosen] = 1.0 / b;
            } else
                w[below(r, n)] += kind == MINIBATCH ? 1.0 / b : 1.0 / b + scale * normal(r);
        }
        return;
    default: { // noise on a support, with replacement
        double counts[n];
        memset(counts, 0, sizeof counts);
        for (long k = 0; k < b; k++) counts[below(r, n)] += 1;
        for (long i = 0; i < n; i++) {
            w[i] = counts[i] > 0 || kind == PRINTED ? normal(r) : 0.0;
            total += counts[i] * w[i];
        }
        for (long i = 0; i < n; i++)
            w[i] = 1.0 / n + scale * (kind == FISHER ? counts[i] / b * w[i]
                                      : kind == COV  ? counts[i] * (w[i] - total / b)
                                                     : (counts[i] / b - 1.0 / n) * w[i]);
    }
    }
}

void weights(uint64_t seed, long kind, long size, long n, long b, double scale, double df, double *w) {
    rng_t r;
    seed_rng(&r, seed);
    long pool[n];
    for (long i = 0; i < n; i++) pool[i] = i;
    for (long row = 0; row < size; row++, w += n)
        switch (kind) {
#undef CASE
#define CASE(K)                                                                                                                     \
    case K:                                                                                                                         \
        weights_of(K, &r, n, b, scale, df, pool, w);                                                                                \
        break;
            CASE(MINIBATCH) CASE(MINIBATCH_WITHOUT) CASE(GAUSSIAN) CASE(RADEMACHER) CASE(STUDENT) CASE(BERNOULLI) CASE(FISHER)
            CASE(COV) CASE(PRINTED) CASE(GAUSSIAN_MINIBATCH)
        }
}

// ---- local complexities under independent signs: |sum v_i l_i| at its largest over a ball, over n

static void signed_sums(rng_t *r, long n, long p, const double *columns, double *sums) {
    memset(sums, 0, p * sizeof *sums);
    for (long i = 0; i < n; i++) {
        double sign = next(r) >> 63 ? 1.0 : -1.0;
        for (long j = 0; j < p; j++) sums[j] += sign * columns[p * i + j];
    }
}

// columns (n, d + 1): constant and slopes of each affine loss.
void affine_complexity(uint64_t seed, long size, long n, long d, double radius, const double *columns, double *supremum) {
    rng_t r;
    seed_rng(&r, seed);
    double sums[d + 1];
    for (long row = 0; row < size; row++) {
        signed_sums(&r, n, d + 1, columns, sums);
        double square = 0;
        for (long j = 1; j <= d; j++) square += sums[j] * sums[j];
        supremum[row] = (fabs(sums[0]) + radius * sqrt(square)) / n;
    }
}

// Cyclic Jacobi rotations: eigenvalues on the diagonal of A, eigenvectors in the columns of V.
static void diagonalise(long d, double A[d][d], double V[d][d]) {
    for (long i = 0; i < d; i++)
        for (long j = 0; j < d; j++) V[i][j] = i == j;
    for (int sweep = 0, turned = 1; turned && sweep < 30; sweep++) {
        turned = 0;
        for (long p = 0; p < d - 1; p++)
            for (long q = p + 1; q < d; q++) {
                if (fabs(A[p][q]) <= 1e-17 * (fabs(A[p][p]) + fabs(A[q][q]))) continue;
                turned = 1;
                double half = (A[q][q] - A[p][p]) / (2 * A[p][q]), t = copysign(1 / (fabs(half) + sqrt(half * half + 1)), half);
                double c = 1 / sqrt(t * t + 1), s = t * c;
                for (long k = 0; k < d; k++) {
                    double a = A[k][p], b = A[k][q];
                    A[k][p] = c * a - s * b, A[k][q] = s * a + c * b;
                }
                for (long k = 0; k < d; k++) {
                    double a = A[p][k], b = A[q][k];
                    A[p][k] = c * a - s * b, A[q][k] = s * a + c * b;
                    a = V[k][p], b = V[k][q];
                    V[k][p] = c * a - s * b, V[k][q] = s * a + c * b;
                }
            }
    }
}

// Largest g'x + x'Ax/2 on the ball, for eigenvalues sign * A[i][i], by bisection for the multiplier.
static double largest(long d, double A[d][d], const double *g, double radius, double sign) {
    double top = 0, square = 0, value;
    for (long i = 0; i < d; i++) top = fmax(top, sign * A[i][i]), square += g[i] * g[i];
    double low = 0, high = sqrt(square) / radius;
    for (int step = 0; step < 64; step++) {
        double middle = (low + high) / 2, length = 0;
        for (long i = 0; i < d; i++) {
            double x = g[i] / (top - sign * A[i][i] + middle);
            length += x * x;
        }
        if (length <= radius * radius) high = middle;
        else low = middle;
    }
    value = (top + high) * radius * radius;
    for (long i = 0; i < d; i++) value += g[i] * g[i] / (top - sign * A[i][i] + high);
    return value / 2;
}

// columns (n, 1 + d + d(d + 1)/2): constant, slopes and upper triangle of the second derivatives of each quadratic loss.
void quadratic_complexity(uint64_t seed, long size, long n, long d, double radius, const double *columns, double *supremum) {
    rng_t r;
    seed_rng(&r, seed);
    const long p = 1 + d + d * (d + 1) / 2;
    double sums[p], A[d][d], V[d][d], g[d];
    for (long row = 0; row < size; row++) {
        signed_sums(&r, n, p, columns, sums);
        const double *triangle = sums + 1 + d;
        for (long i = 0; i < d; i++)
            for (long j = i; j < d; j++) A[i][j] = A[j][i] = *triangle++;
        diagonalise(d, A, V);
        for (long j = 0; j < d; j++) {
            g[j] = 0;
            for (long i = 0; i < d; i++) g[j] += V[i][j] * sums[1 + i];
        }
        double above = sums[0] + largest(d, A, g, radius, 1), below = -sums[0] + largest(d, A, g, radius, -1);
        supremum[row] = fmax(above, below) / n;
    }
}
