// rms_norm, with the residual added before and quantised after, as asked: one pass over memory.

#pragma once

#include <cmath>
#include <optional>
#include <tuple>
#include <type_traits>

#include "quantization.h"
#include "rows.h"

namespace cutaway {

constexpr int64_t NORM_ENTRIES = 16384;  // fewer are not worth a further thread

// Many sums, so that many entries are added at once, though the compiler may not reorder a sum.
inline float sum_of_squares(const float* __restrict row, int64_t width) {
  constexpr int64_t lanes = 64;
  float sums[lanes] = {};
  int64_t whole = width - width % lanes;
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      sums[lane] += row[i + lane] * row[i + lane];
    }
  }
  for (int64_t i = whole; i < width; ++i) {
    sums[i - whole] += row[i] * row[i];
  }
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) {
      sums[lane] += sums[lane + half];
    }
  }
  return sums[0];
}

// In place: normalised, rounded to the weight's type, multiplied, rounded to the weight's type and to the row's.
template <class X, class W>
inline void scale(float* __restrict row, const float* __restrict weight, float inverse, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    float product = rounded<W>(rounded<W>(row[i] * inverse) * weight[i]);
    row[i] = std::is_same_v<X, W> ? product : rounded<X>(product);
  }
}

template <class X>
inline void scale(float* __restrict row, float inverse, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    row[i] = rounded<X>(row[i] * inverse);
  }
}

// The weight as float32, read once for all rows.
class Weight {
 public:
  Weight(const std::optional<Tensor>& weight, int64_t width) {
    if (!weight) {
      return;
    }
    if (weight->dim() != 1 || weight->size(0) != width) {
      refuse("weight has not one entry for each entry of a row");
    }
    dtype = weight->scalar_type();
    Rows rows(*weight);
    values = floats(width);
    with_float_type(*dtype, [&](auto type) { load(rows.at<decltype(type)>(0), rows.step, width, values.get()); });
  }

  std::optional<ScalarType> dtype;
  std::unique_ptr<float[]> values;
};

template <class X>
inline void normalise(float* row, const Weight& weight, double epsilon, int64_t width) {
  float inverse = 1.0f / std::sqrt(sum_of_squares(row, width) / float(width) + float(epsilon));
  if (!weight.dtype) {
    return scale<X>(row, inverse, width);
  }
  with_float_type(*weight.dtype, [&](auto type) { scale<X, decltype(type)>(row, weight.values.get(), inverse, width); });
}

template <class X>
inline void add(const X* __restrict from, int64_t step, int64_t width, float* __restrict row) {
  if (step != 1) {
    for (int64_t i = 0; i < width; ++i) {
      row[i] = rounded<X>(row[i] + to_float(from[i * step]));
    }
    return;
  }
  for (int64_t i = 0; i < width; ++i) {
    row[i] = rounded<X>(row[i] + to_float(from[i]));
  }
}

// For each row: x, plus the residual if there is one, normalised as float32 and handed to `sink(row, number)`.
template <class X, class Sink>
inline void normalise_rows(
    const Rows& x,
    const Rows* residual,
    const Rows* sum,
    const Weight& weight,
    double epsilon,
    const Sink& sink) {
  int64_t width = x.width;
  parallel_rows(x.count, width, NORM_ENTRIES, [&](int64_t begin, int64_t end) {
    auto row = floats(width);
    for (int64_t number = begin; number < end; ++number) {
      load(x.at<X>(number), x.step, width, row.get());
      if (residual) {
        add(residual->at<X>(number), residual->step, width, row.get());
        store(row.get(), width, sum->at<X>(number), sum->step);
      }
      normalise<X>(row.get(), weight, epsilon, width);
      sink(row.get(), number);
    }
  });
}

inline void check_residual(const Tensor& x, const Tensor& residual) {
  auto own = x.sizes(), other = residual.sizes();
  if (!std::equal(own.begin(), own.end(), other.begin(), other.end()) || x.scalar_type() != residual.scalar_type()) {
    refuse("x and x_residual differ in shape or dtype");
  }
}

inline Tensor rms_norm(const Tensor& x, const std::optional<Tensor>& weight, double epsilon) {
  Tensor out = new_like(x);
  Rows rows(x), to(out);
  Weight scales(weight, rows.width);
  with_float_type(x.scalar_type(), [&](auto type) {
    using X = decltype(type);
    normalise_rows<X>(rows, nullptr, nullptr, scales, epsilon, [&](const float* row, int64_t number) {
      store(row, to.width, to.at<X>(number));
    });
  });
  return out;
}

// Into x and x_residual.
inline void fused_add_rms_norm(
    const Tensor& x,
    const Tensor& residual,
    const std::optional<Tensor>& weight,
    double epsilon) {
  check_residual(x, residual);
  if (x.numel() != 0 && x.data_ptr() == residual.data_ptr()) {
    refuse("x and x_residual are the same memory, which cannot hold two outputs");
  }
  Rows rows(x), sum(residual);
  Weight scales(weight, rows.width);
  with_float_type(x.scalar_type(), [&](auto type) {
    using X = decltype(type);
    normalise_rows<X>(rows, &sum, &sum, scales, epsilon, [&](const float* row, int64_t number) {
      store(row, rows.width, rows.at<X>(number), rows.step);
    });
  });
}

// Normalised rows, each handed to `quantise(row, number)`; the sum of x and the residual, if there is one, to `sum`.
template <class Quantise>
inline void normalise_and(
    const Tensor& x,
    const Tensor* residual,
    const Tensor* sum,
    const std::optional<Tensor>& weight,
    double epsilon,
    const Quantise& quantise) {
  Rows rows(x), added(residual ? *residual : x), to(sum ? *sum : x);
  Weight scales(weight, rows.width);
  with_float_type(x.scalar_type(), [&](auto type) {
    normalise_rows<decltype(type)>(
        rows, residual ? &added : nullptr, sum ? &to : nullptr, scales, epsilon, quantise);
  });
}

inline Tensor norm_static(
    const Tensor& x,
    const Tensor* residual,
    const Tensor* sum,
    const std::optional<Tensor>& weight,
    const Tensor& scale,
    double epsilon,
    ScalarType dtype) {
  Tensor out = new_tensor(x, x.size(x.dim() - 1), dtype);
  Rows to(out);
  float inverse = 1.0f / only(scale);
  with_quantised_type(dtype, [&](auto type) {
    using Q = decltype(type);
    normalise_and(x, residual, sum, weight, epsilon, [&](const float* row, int64_t number) {
      quantise(row, inverse, to.width, to.at<Q>(number));
    });
  });
  return out;
}

inline std::tuple<Tensor, Tensor> norm_dynamic(
    const Tensor& x,
    const Tensor* residual,
    const Tensor* sum,
    const std::optional<Tensor>& weight,
    double epsilon,
    ScalarType dtype) {
  check_rows(x);
  Tensor out = new_tensor(x, x.size(x.dim() - 1), dtype), scales = new_tensor(x, 1, ScalarType::Float);
  Rows to(out), each(scales);
  with_quantised_type(dtype, [&](auto type) {
    using Q = decltype(type);
    normalise_and(x, residual, sum, weight, epsilon, [&](const float* row, int64_t number) {
      float scale = scale_of<Q>(largest(row, to.width));
      *each.at<float>(number) = scale;
      quantise(row, 1.0f / scale, to.width, to.at<Q>(number));
    });
  });
  return {out, scales};
}

inline Tensor rms_norm_static_quant(
    const Tensor& x,
    const std::optional<Tensor>& weight,
    const Tensor& scale,
    double epsilon,
    ScalarType dtype) {
  return norm_static(x, nullptr, nullptr, weight, scale, epsilon, dtype);
}

inline std::tuple<Tensor, Tensor> rms_norm_dynamic_quant(
    const Tensor& x,
    const std::optional<Tensor>& weight,
    double epsilon,
    ScalarType dtype) {
  return norm_dynamic(x, nullptr, nullptr, weight, epsilon, dtype);
}

inline std::tuple<Tensor, Tensor> fused_add_rms_norm_static_quant(
    const Tensor& x,
    const Tensor& residual,
    const std::optional<Tensor>& weight,
    const Tensor& scale,
    double epsilon,
    ScalarType dtype) {
  check_residual(x, residual);
  Tensor sum = new_like(x);
  Tensor out = norm_static(x, &residual, &sum, weight, scale, epsilon, dtype);
  return {out, sum};
}

inline std::tuple<Tensor, Tensor, Tensor> fused_add_rms_norm_dynamic_quant(
    const Tensor& x,
    const Tensor& residual,
    const std::optional<Tensor>& weight,
    double epsilon,
    ScalarType dtype) {
  check_residual(x, residual);
  Tensor sum = new_like(x);
  auto [out, scales] = norm_dynamic(x, &residual, &sum, weight, epsilon, dtype);
  return {out, scales, sum};
}

}  // namespace cutaway
