/* Floating-point kernels. Only the operations that IEEE 754 rounds correctly (+ - * / sqrt and
 * conversions in range), so that every machine computes the same bits; built without contraction. */
#include "bench.h"

/* A number in [0, 1) with 53 random bits. */
static double random_unit(uint64_t *state) {
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* nbody: five bodies in mutual attraction, 100 symplectic Euler steps per repeat. */

enum { BODIES = 5 };
struct body {
    double position[3], velocity[3], mass;
};

static NOINLINE void nbody_step(struct body bodies[BODIES], double step) {
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            double delta[3];
            double square = 0.01;
            for (int axis = 0; axis < 3; axis++) {
                delta[axis] = bodies[i].position[axis] - bodies[j].position[axis];
                square += delta[axis] * delta[axis];
            }
            double pull = step / (square * __builtin_sqrt(square));
            for (int axis = 0; axis < 3; axis++) {
                bodies[i].velocity[axis] -= delta[axis] * bodies[j].mass * pull;
                bodies[j].velocity[axis] += delta[axis] * bodies[i].mass * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++) {
        for (int axis = 0; axis < 3; axis++) {
            bodies[i].position[axis] += step * bodies[i].velocity[axis];
        }
    }
}

uint64_t kernel_nbody(uint64_t repeats) {
    struct body bodies[BODIES];
    uint64_t random = 20;
    for (int i = 0; i < BODIES; i++) {
        for (int axis = 0; axis < 3; axis++) {
            bodies[i].position[axis] = 4.0 * random_unit(&random) - 2.0;
            bodies[i].velocity[axis] = random_unit(&random) - 0.5;
        }
        bodies[i].mass = 0.1 + random_unit(&random);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int step = 0; step < 100; step++) {
            nbody_step(bodies, 0.001);
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < BODIES; i++) {
        for (int axis = 0; axis < 3; axis++) {
            sum = mix(sum, bits_of(bodies[i].position[axis]));
        }
    }
    return sum;
}

/* mandelbrot: 64 x 64 points, up to 100 iterations; each repeat shifts the window a little. */

uint64_t kernel_mandelbrot(uint64_t repeats) {
    enum { N = 64, ITERATIONS = 100 };
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        double shift = (double)(repeat % 256) * 0x1p-12;
        uint64_t inside = 0;
        for (int row = 0; row < N; row++) {
            double ci = 2.0 * row / N - 1.0;
            for (int column = 0; column < N; column++) {
                double cr = 2.5 * column / N - 2.0 + shift;
                double zr = 0.0, zi = 0.0;
                int i = 0;
                for (; i < ITERATIONS && zr * zr + zi * zi <= 4.0; i++) {
                    double next = zr * zr - zi * zi + cr;
                    zi = 2.0 * zr * zi + ci;
                    zr = next;
                }
                inside += (uint64_t)i;
            }
        }
        sum = mix(sum, inside);
    }
    return sum;
}

/* lu: decomposition of a 48 x 48 matrix with row pivoting. */

uint64_t kernel_lu(uint64_t repeats) {
    enum { N = 48 };
    static double a[N][N];
    uint64_t random = 21;
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                a[i][j] = random_unit(&random) - 0.5;
            }
        }
        double determinant = 1.0;
        for (int k = 0; k < N; k++) {
            int pivot = k;
            for (int i = k + 1; i < N; i++) {
                if (__builtin_fabs(a[i][k]) > __builtin_fabs(a[pivot][k])) {
                    pivot = i;
                }
            }
            if (pivot != k) {
                for (int j = 0; j < N; j++) {
                    double swap = a[k][j];
                    a[k][j] = a[pivot][j];
                    a[pivot][j] = swap;
                }
                determinant = -determinant;
            }
            determinant *= a[k][k];
            for (int i = k + 1; i < N; i++) {
                double factor = a[i][k] / a[k][k];
                a[i][k] = factor;
                for (int j = k + 1; j < N; j++) {
                    a[i][j] -= factor * a[k][j];
                }
            }
        }
        sum = mix(sum, bits_of(determinant));
    }
    return sum;
}

/* fft: radix-2 transform of 1,024 complex numbers there and back. The factors come from halving angles
 * with square roots, as the library's sine may round differently elsewhere. */

enum { FFT_POINTS = 1024 };
static double fft_cosine[FFT_POINTS / 2], fft_sine[FFT_POINTS / 2];

static void fft_factors(void) {
    /* cos and sin of 2 pi / 4, / 8, ... by half angles, then products of them for all multiples. */
    fft_cosine[0] = 1.0;
    fft_sine[0] = 0.0;
    double cosine = 0.0, sine = 1.0;
    for (int step = FFT_POINTS / 4; step >= 1; step /= 2) {
        for (int i = 0; i < FFT_POINTS / 2; i += 2 * step) {
            fft_cosine[i + step] = fft_cosine[i] * cosine - fft_sine[i] * sine;
            fft_sine[i + step] = fft_sine[i] * cosine + fft_cosine[i] * sine;
        }
        double half = __builtin_sqrt((1.0 + cosine) / 2.0);
        sine = sine / (2.0 * half);
        cosine = half;
    }
}

static NOINLINE void fft(double real[FFT_POINTS], double imaginary[FFT_POINTS], double sign) {
    for (unsigned i = 1, j = 0; i < FFT_POINTS; i++) {
        unsigned bit = FFT_POINTS / 2;
        for (; j & bit; bit /= 2) {
            j ^= bit;
        }
        j ^= bit;
        if (i < j) {
            double swap = real[i];
            real[i] = real[j];
            real[j] = swap;
            swap = imaginary[i];
            imaginary[i] = imaginary[j];
            imaginary[j] = swap;
        }
    }
    for (int size = 2; size <= FFT_POINTS; size *= 2) {
        int stride = FFT_POINTS / size;
        for (int from = 0; from < FFT_POINTS; from += size) {
            for (int i = 0; i < size / 2; i++) {
                double c = fft_cosine[i * stride], s = sign * fft_sine[i * stride];
                int low = from + i, high = from + i + size / 2;
                double r = real[high] * c - imaginary[high] * s;
                double m = real[high] * s + imaginary[high] * c;
                real[high] = real[low] - r;
                imaginary[high] = imaginary[low] - m;
                real[low] += r;
                imaginary[low] += m;
            }
        }
    }
}

uint64_t kernel_fft(uint64_t repeats) {
    static double real[FFT_POINTS], imaginary[FFT_POINTS];
    uint64_t random = 22;
    fft_factors();
    for (int i = 0; i < FFT_POINTS; i++) {
        real[i] = random_unit(&random);
        imaginary[i] = random_unit(&random);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        fft(real, imaginary, 1.0);
        fft(real, imaginary, -1.0);
        for (int i = 0; i < FFT_POINTS; i++) {
            real[i] /= FFT_POINTS;
            imaginary[i] /= FFT_POINTS;
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < FFT_POINTS; i++) {
        sum = mix(mix(sum, bits_of(real[i])), bits_of(imaginary[i]));
    }
    return sum;
}

/* spectral_norm: power iteration with the matrix 1 / ((i + j)(i + j + 1) / 2 + i + 1), 50 x 50. */

enum { SPECTRAL = 50 };

static double spectral_element(int i, int j) {
    return 1.0 / (double)((i + j) * (i + j + 1) / 2 + i + 1);
}

static NOINLINE void spectral_multiply(const double in[SPECTRAL], double out[SPECTRAL], int transposed) {
    for (int i = 0; i < SPECTRAL; i++) {
        double total = 0.0;
        for (int j = 0; j < SPECTRAL; j++) {
            total += in[j] * (transposed ? spectral_element(j, i) : spectral_element(i, j));
        }
        out[i] = total;
    }
}

uint64_t kernel_spectral_norm(uint64_t repeats) {
    double u[SPECTRAL], v[SPECTRAL], between[SPECTRAL];
    uint64_t sum = 0;
    for (int i = 0; i < SPECTRAL; i++) {
        u[i] = 1.0 + 0x1p-8 * i;
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        spectral_multiply(u, between, 0);
        spectral_multiply(between, v, 1);
        double vv = 0.0, uv = 0.0;
        for (int i = 0; i < SPECTRAL; i++) {
            uv += u[i] * v[i];
            vv += v[i] * v[i];
        }
        sum = mix(sum, bits_of(__builtin_sqrt(vv / uv)));
        double length = __builtin_sqrt(vv);
        for (int i = 0; i < SPECTRAL; i++) {
            u[i] = v[i] / length;
        }
    }
    return sum;
}

/* float_matrix: product of 48 x 48 matrices in single precision. */

uint64_t kernel_float_matrix(uint64_t repeats) {
    enum { N = 48 };
    static float a[N][N], b[N][N], c[N][N];
    uint64_t random = 23;
    uint64_t sum = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (float)random_unit(&random);
            b[i][j] = (float)random_unit(&random) - 0.5f;
        }
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                float dot = 0.0f;
                for (int k = 0; k < N; k++) {
                    dot += a[i][k] * b[k][j];
                }
                c[i][j] = dot;
            }
        }
        a[repeat % N][repeat / N % N] = c[repeat / N % N][repeat % N] * 0.25f;
        sum = mix(sum, bits_of((double)c[repeat % N][N - 1]));
    }
    return sum;
}

/* sqrt_divide: square roots and quotients in both precisions, each needing the one before. */

uint64_t kernel_sqrt_divide(uint64_t repeats) {
    double x = 2.0;
    float y = 3.0f;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 1; i <= 256; i++) {
            x = __builtin_sqrt(x + (double)i) + (double)i / (x + 1.0);
            y = __builtin_sqrtf(y + (float)i) + (float)i / (y + 1.0f);
        }
    }
    return mix(bits_of(x), bits_of((double)y));
}

/* conversions: integers of both widths and signs to floating point of both precisions and back, and
 * between the precisions; every value in range. */

uint64_t kernel_conversions(uint64_t repeats) {
    uint64_t random = 24;
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < 256; i++) {
            uint64_t value = next_random(&random);
            double a = (double)(int64_t)value;
            double b = (double)(uint32_t)value;
            float c = (float)(int32_t)(value >> 32);
            float d = (float)a;
            sum += (uint64_t)(int64_t)(a * 0.5) + (uint64_t)(int32_t)(b * 0.25);
            sum ^= (uint64_t)(int64_t)(c * 3.0f) + (uint64_t)(int64_t)((double)d * 0.125);
            sum += (uint64_t)(uint32_t)(b * 0.75 + (double)(c * 0x1p-32f));
            sum += (uint64_t)((double)(value >> 1) * 0.5);
        }
    }
    return sum;
}
