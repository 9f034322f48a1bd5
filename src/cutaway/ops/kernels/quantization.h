// To fp8 or int8, by one scale or by one for each row.

#pragma once

#include <tuple>

#include "rows.h"

namespace cutaway {

constexpr int64_t QUANT_ENTRIES = 32768;

// The limits of a dtype: its largest value, and the smallest scale that is used for it.
template <class Q>
struct Limits;

template <>
struct Limits<Float8> {
  static constexpr float largest = 448.0f;
  static constexpr float scale = float(1.0 / (448.0 * 512.0));
};

template <>
struct Limits<int8_t> {
  static constexpr float largest = 127.0f;
  static constexpr float scale = float(1e-10 / 127.0);
};

template <class Q>
inline void quantise(const float* __restrict row, float inverse, int64_t width, Q* __restrict to) {
  for (int64_t i = 0; i < width; ++i) {
    to[i] = from_float<Q>(row[i] * inverse);
  }
}

// Of the magnitudes. As integers floats are ordered as they are as numbers, with NaN above all: so NaN is kept.
inline float largest(const float* __restrict row, int64_t width) {
  int32_t found = 0;
  for (int64_t i = 0; i < width; ++i) {
    found = std::max(found, int32_t(bits_of(row[i]) & 0x7fffffffu));
  }
  return float_of(uint32_t(found));
}

// A division, as in the native body: a product with the reciprocal could differ in the last bit.
template <class Q>
inline float scale_of(float largest) {
  float scale = largest / Limits<Q>::largest;
  return scale < Limits<Q>::scale ? Limits<Q>::scale : scale;
}

// The entry of a tensor that has one.
inline float only(const Tensor& scale) {
  if (scale.numel() != 1) {
    refuse("scale has not one entry");
  }
  float value = 0;
  with_float_type(scale.scalar_type(), [&](auto type) {
    value = to_float(*static_cast<const decltype(type)*>(scale.data_ptr()));
  });
  return value;
}

inline void check_rows(const Tensor& x) {
  if (x.size(x.dim() - 1) == 0) {
    refuse("rows without entries have no largest one");
  }
}

inline Tensor static_quant(const Tensor& x, const Tensor& scale, ScalarType dtype) {
  Tensor out = new_tensor(x, x.size(x.dim() - 1), dtype);
  Rows rows(x), to(out);
  float inverse = 1.0f / only(scale);
  with_float_type(x.scalar_type(), [&](auto source) {
    with_quantised_type(dtype, [&](auto target) {
      using X = decltype(source);
      using Q = decltype(target);
      parallel_rows(rows.count, rows.width, QUANT_ENTRIES, [&](int64_t begin, int64_t end) {
        auto row = floats(rows.width);
        for (int64_t number = begin; number < end; ++number) {
          load(rows.at<X>(number), rows.step, rows.width, row.get());
          quantise(row.get(), inverse, rows.width, to.at<Q>(number));
        }
      });
    });
  });
  return out;
}

inline std::tuple<Tensor, Tensor> dynamic_per_token_quant(const Tensor& x, ScalarType dtype) {
  check_rows(x);
  Tensor out = new_tensor(x, x.size(x.dim() - 1), dtype), scales = new_tensor(x, 1, ScalarType::Float);
  Rows rows(x), to(out), each(scales);
  with_float_type(x.scalar_type(), [&](auto source) {
    with_quantised_type(dtype, [&](auto target) {
      using X = decltype(source);
      using Q = decltype(target);
      parallel_rows(rows.count, rows.width, QUANT_ENTRIES, [&](int64_t begin, int64_t end) {
        auto row = floats(rows.width);
        for (int64_t number = begin; number < end; ++number) {
          load(rows.at<X>(number), rows.step, rows.width, row.get());
          float scale = scale_of<Q>(largest(row.get(), rows.width));
          *each.at<float>(number) = scale;
          quantise(row.get(), 1.0f / scale, rows.width, to.at<Q>(number));
        }
      });
    });
  });
  return {out, scales};
}

}  // namespace cutaway
