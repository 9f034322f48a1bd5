// silu_and_mul, gelu_and_mul.

#pragma once

#include <cmath>
#include <limits>

#include "rows.h"

namespace cutaway {

constexpr int64_t ACTIVATION_ENTRIES = 8192;

// exp, to about one unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, 1980), exp(r) by its
// series, and 2^n added to the exponent. Below -87 the value there; of NaN any value.
CUTAWAY_INLINE float exponential(float x) {
  bool overflows = x > 88.7228f;
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
  float power = float_of(bits_of(series) + (bits_of(shifted) << 23));
  return overflows ? std::numeric_limits<float>::infinity() : power;
}

// 2^y for y <= 0, to 7.5e-8 of it: a whole number for the exponent, and a polynomial for the rest. Below -126 it is 0.
CUTAWAY_INLINE float power_of_two(float y) {
  float shifted = y + 12582912.0f;
  float f = y - (shifted - 12582912.0f);
  float series = 0.00132764715f;
  series = multiply_add(series, f, 0.00967554133f);
  series = multiply_add(series, f, 0.0555071327f);
  series = multiply_add(series, f, 0.240221197f);
  series = multiply_add(series, f, 0.693146967f);
  series = multiply_add(series, f, 1.00000007f);
  return y < -126.0f ? 0.0f : float_of(bits_of(series) + (bits_of(shifted) << 23));
}

// The upper tail of the normal distribution, erfc(a / sqrt(2)) / 2 for a >= 0, as 2^-(1 + a p(a)). p was fitted on
// [0, 5.6] by least squares in 40 digits, reweighted until the largest error of a times the tail was least: 9e-9.
// From there on a p(a) rises, so that the tail goes to 0.
CUTAWAY_INLINE float normal_tail(float a) {
  float p = 1.90206505e-06f;
  p = multiply_add(p, a, -2.80569335e-05f);
  p = multiply_add(p, a, 0.000131473189f);
  p = multiply_add(p, a, 0.000272075816f);
  p = multiply_add(p, a, -0.00724542134f);
  p = multiply_add(p, a, 0.0526276109f);
  p = multiply_add(p, a, 0.459162143f);
  p = multiply_add(p, a, 1.15111105f);
  return power_of_two(-multiply_add(p, a, 1.0f));
}

struct Silu {
  static CUTAWAY_INLINE float of(float z) {
    return z / (1.0f + exponential(-z));
  }
};

struct Gelu {  // z Phi(z), Phi being the tail for z < 0 and 1 - tail for z >= 0
  static CUTAWAY_INLINE float of(float z) {
    float tail = normal_tail(std::fabs(z));
    return z * (z < 0.0f ? tail : 1.0f - tail);
  }
};

struct GeluTanh {  // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))
  static CUTAWAY_INLINE float of(float z) {
    float u = 0.797884561f * multiply_add(0.044715f * z * z, z, z);
    return z / (1.0f + exponential(-2.0f * u));
  }
};

template <class Activation, class X>
inline void activate_rows(const Rows& x, const Rows& out, int64_t begin, int64_t end) {
  int64_t width = out.width;
  auto gate = floats(2 * width);
  for (int64_t number = begin; number < end; ++number) {
    load(x.at<X>(number), x.step, 2 * width, gate.get());
    const float* __restrict up = gate.get() + width;
    for (int64_t i = 0; i < width; ++i) {
      gate[i] = Activation::of(gate[i]);
    }
    round_row<X>(gate.get(), width);
    for (int64_t i = 0; i < width; ++i) {
      gate[i] *= up[i];
    }
    store(gate.get(), width, out.at<X>(number));
  }
}

// Nothing to convert: from row to row.
template <class Activation>
inline void activate_floats(const Rows& x, const Rows& out, int64_t begin, int64_t end) {
  for (int64_t number = begin; number < end; ++number) {
    const float* __restrict gate = x.at<float>(number);
    const float* __restrict up = gate + out.width;
    float* __restrict to = out.at<float>(number);
    for (int64_t i = 0; i < out.width; ++i) {
      to[i] = Activation::of(gate[i]) * up[i];
    }
  }
}

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
      if (std::is_same_v<X, float> && rows.step == 1) {
        activate_floats<Activation>(rows, to, begin, end);
      } else {
        activate_rows<Activation, X>(rows, to, begin, end);
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
