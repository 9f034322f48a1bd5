// silu_and_mul, gelu_and_mul.

#pragma once

#include <cmath>

#include "rows.h"

namespace cutaway {

constexpr int64_t ACTIVATION_ENTRIES = 8192;

// exp, to about one unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, 1980), exp(r) by its
// series, and 2^n added to the exponent. Below -87 and above 88 the value at that end.
CUTAWAY_INLINE float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  float shifted = multiply_add(x, 1.44269504f, 12582912.0f);  // 1.5 * 2^23: the addition rounds to a whole number
  float n = shifted - 12582912.0f;
  float r = multiply_add(n, 2.12194440e-4f, multiply_add(n, -0.693359375f, x));
  float series = 1.0f / 5040.0f;
  series = multiply_add(series, r, 1.0f / 720.0f);
  series = multiply_add(series, r, 1.0f / 120.0f);
  series = multiply_add(series, r, 1.0f / 24.0f);
  series = multiply_add(series, r, 1.0f / 6.0f);
  series = multiply_add(series, r, 0.5f);
  series = multiply_add(series, r, 1.0f);
  series = multiply_add(series, r, 1.0f);
  return float_of(bits_of(series) + (bits_of(shifted) << 23));
}

// erfc(a) for a >= 0 as exp(-a p(a)); p was fitted on [0, 4] by least squares in 40 digits, reweighted until the
// largest error of erfc was least: 1.6e-8. From there on a p(a) rises, so that it goes to 0.
CUTAWAY_INLINE float complementary_error(float a) {
  float p = 3.14401317e-05f;
  p = multiply_add(p, a, -0.000308801801f);
  p = multiply_add(p, a, 0.00103240006f);
  p = multiply_add(p, a, 0.000536936456f);
  p = multiply_add(p, a, -0.0195839633f);
  p = multiply_add(p, a, 0.102919615f);
  p = multiply_add(p, a, 0.636597733f);
  p = multiply_add(p, a, 1.12838025f);
  return exponential(-(p * a));
}

struct Silu {
  static CUTAWAY_INLINE float of(float z) {
    return z / (1.0f + exponential(-z));
  }
};

struct Gelu {
  static CUTAWAY_INLINE float of(float z) {
    float tail = 0.5f * complementary_error(std::fabs(z) * 0.707106781f);
    return z * (z < 0.0f ? tail : 1.0f - tail);
  }
};

struct GeluTanh {  // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))
  static CUTAWAY_INLINE float of(float z) {
    float u = 0.797884561f * (z + 0.044715f * z * z * z);
    return z / (1.0f + exponential(-2.0f * u));
  }
};

template <class Activation>
inline Tensor activate_and_mul(const Tensor& x) {
  int64_t width = x.size(x.dim() - 1) / 2;
  if (x.size(x.dim() - 1) % 2) {
    refuse("the last dimension is odd");
  }
  Tensor out = new_tensor(x, width, x.scalar_type());
  Rows rows(x), to(out);
  with_float_type(x.scalar_type(), [&](auto type) {
    using X = decltype(type);
    parallel_rows(rows.count, width, ACTIVATION_ENTRIES, [&](int64_t begin, int64_t end) {
      auto gate = floats(width), up = floats(width);
      for (int64_t number = begin; number < end; ++number) {
        load(rows.at<X>(number), rows.step, width, gate.get());
        load(rows.at<X>(number) + width * rows.step, rows.step, width, up.get());
        for (int64_t i = 0; i < width; ++i) {
          gate[i] = rounded<X>(Activation::of(gate[i])) * up[i];
        }
        store(gate.get(), width, to.at<X>(number));
      }
    });
  });
  return out;
}

inline Tensor silu_and_mul(const Tensor& x) {
  return activate_and_mul<Silu>(x);
}

inline Tensor gelu_and_mul(const Tensor& x, bool tanh) {
  return tanh ? activate_and_mul<GeluTanh>(x) : activate_and_mul<Gelu>(x);
}

}  // namespace cutaway
