// Outcome distributions of a batch of profiles; built and called by games/compiled.py, which says
// when. The rule is that of games/simulation.py, and so is what is summed.
//
// Built once per NUMBER (float or double), INTEGER (of the same size), S states, A actions and
// CRITERIA that the receiver looks at: with these known the compiler keeps scores in registers.
// LANES joint signals are decided at a time, and what each adds is summed where it lands: S * A
// multiplications for the scores of a joint signal, S additions for its outcome.

#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

constexpr int LANES = BYTES / sizeof(NUMBER);
constexpr int BLOCKS = (S + LANES - 1) / LANES;  // vectors that hold one number per state

typedef NUMBER Vector __attribute__((vector_size(BYTES)));
typedef INTEGER Whole __attribute__((vector_size(BYTES)));  // -1 for true, 0 for false

// sum_s q(s) weight(s)
static inline Vector dot(const Vector *q, const NUMBER *weight) {
    Vector sum = q[0] * weight[0];
    for (int s = 1; s < S; s++) sum += q[s] * weight[s];
    return sum;
}

static inline Vector highest(const Vector *score) {
    Vector best = score[0];
    for (int a = 1; a < A; a++) best = score[a] > best ? score[a] : best;
    return best;
}

// The lowest action that reaches the bar; how many do is subtracted from count.
static inline Whole lowest(const Vector *score, Vector bar, Whole &count) {
    Whole action = {};
    for (int a = A - 1; a >= 0; a--) {
        const Whole tied = score[a] >= bar;
        action = tied ? Whole{} + a : action;
        count += tied;
    }
    return action;
}

// The receiver's action at LANES joint posteriors q (S): tables (CRITERIA, A, S) already weighted
// by the left factor, which is also given by itself, and slacks (CRITERIA) for probability 1.
static inline Whole react(const Vector *q, const NUMBER (*table)[A][S], const NUMBER *left,
                          const NUMBER *slack) {
    Vector probability = dot(q, left);
    probability = probability > 0 ? probability : Vector{};  // rounding of policies may go below
    Vector score[A];
    for (int a = 0; a < A; a++) score[a] = dot(q, table[0][a]);
    const Vector bar = highest(score) - slack[0] * probability;
    Whole count = {};
    Whole action = lowest(score, bar, count);
    if constexpr (CRITERIA > 1) {
        INTEGER ties = 0;
        for (int i = 0; i < LANES; i++) ties |= count[i] < -1;
        if (ties) {
            const Vector never = Vector{} - std::numeric_limits<NUMBER>::infinity();
            Vector next[A];
            for (int a = 0; a < A; a++)
                next[a] = score[a] >= bar ? dot(q, table[1][a]) : never;
            action = lowest(next, highest(next) - slack[1] * probability, count);
        }
    }
    return action;
}

// Profiles first to last of: left (P, S, L), right (P, S, R), tables (G, CRITERIA, A, S), slacks
// (G, CRITERIA) -> found (P, S, A), where P = G * per_game. Returns 0, or 1 if out of memory.
extern "C" int outcomes(int64_t first, int64_t last, int64_t per_game, int64_t n_left,
                        int64_t n_right, const NUMBER *left, const NUMBER *right,
                        const NUMBER *tables, const NUMBER *slacks, NUMBER *found) {
    const int64_t groups = (n_right + LANES - 1) / LANES;
    Vector *columns = new (std::nothrow) Vector[groups * S];     // LANES joint signals a vector
    Vector *rows = new (std::nothrow) Vector[n_right * BLOCKS];  // states side by side
    const bool ready = columns && rows;
    for (int64_t p = first; ready && p < last; p++) {
        const NUMBER *table = tables + p / per_game * CRITERIA * A * S;
        const NUMBER *slack = slacks + p / per_game * CRITERIA;
        std::memset(columns, 0, groups * S * sizeof(Vector));
        std::memset(rows, 0, n_right * BLOCKS * sizeof(Vector));
        for (int s = 0; s < S; s++)
            for (int64_t r = 0; r < n_right; r++) {
                const NUMBER value = right[(p * S + s) * n_right + r];
                columns[r / LANES * S + s][r % LANES] = value;
                rows[r * BLOCKS + s / LANES][s % LANES] = value;
            }
        Vector total[A][BLOCKS] = {};
        for (int64_t l = 0; l < n_left; l++) {
            NUMBER own[S];
            for (int s = 0; s < S; s++) own[s] = left[(p * S + s) * n_left + l];
            NUMBER weighted[CRITERIA][A][S];
            for (int c = 0; c < CRITERIA; c++)
                for (int a = 0; a < A; a++)
                    for (int s = 0; s < S; s++)
                        weighted[c][a][s] = table[(c * A + a) * S + s] * own[s];
            Vector taken[A][BLOCKS] = {};  // sum of right over the joint signals that lead to a
            for (int64_t g = 0; g < groups; g++) {
                const Whole action = react(columns + g * S, weighted, own, slack);
                const Vector *row = rows + g * LANES * BLOCKS;
                const int64_t n = n_right - g * LANES < LANES ? n_right - g * LANES : LANES;
                for (int64_t i = 0; i < n; i++)
                    for (int k = 0; k < BLOCKS; k++) taken[action[i]][k] += row[i * BLOCKS + k];
            }
            Vector factor[BLOCKS];
            std::memset(factor, 0, sizeof factor);
            for (int s = 0; s < S; s++) factor[s / LANES][s % LANES] = own[s];
            for (int a = 0; a < A; a++)
                for (int k = 0; k < BLOCKS; k++) total[a][k] += taken[a][k] * factor[k];
        }
        for (int s = 0; s < S; s++)
            for (int a = 0; a < A; a++)
                found[(p * S + s) * A + a] = total[a][s / LANES][s % LANES];
    }
    delete[] columns;
    delete[] rows;
    return ready ? 0 : 1;
}
