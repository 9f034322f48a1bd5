// A tensor as rows along its last dimension, whatever its strides; rows as float32; loops over rows in parallel.

#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "numbers.h"

namespace cutaway {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr const char* FLOATS = "a tensor is neither float32 nor bfloat16 nor float16";

[[noreturn]] inline void refuse(const std::string& why) {
  throw std::runtime_error("cutaway_cpp: " + why);
}

// Call `function` with a value of the type that stores a dtype.
template <class Function>
inline void with_float_type(ScalarType dtype, const Function& function) {
  switch (dtype) {
    case ScalarType::Float:
      return function(float{});
    case ScalarType::BFloat16:
      return function(BFloat16{});
    case ScalarType::Half:
      return function(Float16{});
    default:
      refuse(FLOATS);
  }
}

template <class Function>
inline void with_quantised_type(ScalarType dtype, const Function& function) {
  switch (dtype) {
    case ScalarType::Float8_e4m3fn:
      return function(Float8{});
    case ScalarType::Char:
      return function(int8_t{});
    default:
      refuse("quantisation is to float8_e4m3fn or int8");
  }
}

// Where the rows of a tensor lie. The leading dimensions are merged where their strides allow it.
class Rows {
 public:
  explicit Rows(const Tensor& tensor) : Rows(tensor, tensor.data_ptr()) {}

  Rows(const Tensor& tensor, void* data) : data_(static_cast<char*>(data)), item_(tensor.element_size()) {
    auto sizes = tensor.sizes();
    auto strides = tensor.strides();
    if (sizes.size() == 0) {
      refuse("a tensor has no dimensions");
    }
    int64_t last = int64_t(sizes.size()) - 1;
    width = sizes[last];
    step = strides[last];
    for (int64_t dim = last - 1; dim >= 0; --dim) {
      count *= sizes[dim];
      if (sizes[dim] == 1) {
        continue;
      }
      if (!sizes_.empty() && strides[dim] == sizes_.back() * strides_.back()) {
        sizes_.back() *= sizes[dim];
        continue;
      }
      sizes_.push_back(sizes[dim]);
      strides_.push_back(strides[dim]);
    }
  }

  // The first entry of a row.
  template <class T>
  T* at(int64_t row) const {
    if (sizes_.empty()) {
      return reinterpret_cast<T*>(data_);
    }
    int64_t offset = 0;
    size_t outer = sizes_.size() - 1;
    for (size_t dim = 0; dim < outer; ++dim) {
      offset += (row % sizes_[dim]) * strides_[dim];
      row /= sizes_[dim];
    }
    return reinterpret_cast<T*>(data_ + (offset + row * strides_[outer]) * item_);
  }

  int64_t count = 1;  // rows
  int64_t width = 0;  // entries of a row
  int64_t step = 1;   // from one entry to the next, in entries

 private:
  char* data_;
  int64_t item_;
  std::vector<int64_t> sizes_, strides_;  // of the leading dimensions, the innermost first
};

template <class T>
inline void load(const T* __restrict from, int64_t step, int64_t count, float* __restrict to) {
  if (step != 1) {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = to_float(from[i * step]);
    }
    return;
  }
  int64_t i = 0;
#ifdef __F16C__
  if constexpr (std::is_same_v<T, Float16>) {
    for (; i + 8 <= count; i += 8) {
      __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
      _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
    }
  }
#endif
  for (; i < count; ++i) {
    to[i] = to_float(from[i]);
  }
}

template <class T>
inline void store(const float* __restrict from, int64_t count, T* __restrict to, int64_t step = 1) {
  if (step != 1) {
    for (int64_t i = 0; i < count; ++i) {
      to[i * step] = from_float<T>(from[i]);
    }
    return;
  }
  int64_t i = 0;
#ifdef __F16C__
  if constexpr (std::is_same_v<T, Float16>) {
    for (; i + 8 <= count; i += 8) {
      __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
    }
  }
#endif
  for (; i < count; ++i) {
    to[i] = from_float<T>(from[i]);
  }
}

template <class T>
inline void round_row(float* row, int64_t count) {
  int64_t i = 0;
#ifdef __F16C__
  if constexpr (std::is_same_v<T, Float16>) {
    for (; i + 8 <= count; i += 8) {
      __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(row + i), _MM_FROUND_TO_NEAREST_INT);
      _mm256_storeu_ps(row + i, _mm256_cvtph_ps(halves));
    }
  }
#endif
  for (; i < count; ++i) {
    row[i] = rounded<T>(row[i]);
  }
}

template <>
inline void round_row<float>(float*, int64_t) {}

inline std::unique_ptr<float[]> floats(int64_t count) {
  return std::unique_ptr<float[]>(new float[size_t(count)]);
}

// Rows shared out among torch's own threads: as many as torch uses, none when there is little to do.
template <class Function>
inline void parallel_rows(int64_t rows, int64_t width, int64_t entries, const Function& function) {
  if (rows == 0 || width == 0) {
    return;
  }
  torch::stable::parallel_for(0, rows, std::max<int64_t>(1, entries / width), function);
}

inline int32_t code_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return aoti_torch_dtype_float32();
    case ScalarType::BFloat16:
      return aoti_torch_dtype_bfloat16();
    case ScalarType::Half:
      return aoti_torch_dtype_float16();
    case ScalarType::Float8_e4m3fn:
      return aoti_torch_dtype_float8_e4m3fn();
    case ScalarType::Char:
      return aoti_torch_dtype_int8();
    default:
      refuse(FLOATS);
  }
}

// A new contiguous tensor: `like`'s shape, but for the last dimension.
inline Tensor new_tensor(const Tensor& like, int64_t last, ScalarType dtype) {
  auto sizes = like.sizes();
  std::vector<int64_t> shape(sizes.begin(), sizes.end()), strides(sizes.size());
  if (shape.empty()) {
    refuse("a tensor has no dimensions");
  }
  shape.back() = last;
  int64_t stride = 1;
  for (size_t dim = shape.size(); dim-- > 0;) {
    strides[dim] = stride;
    stride *= std::max<int64_t>(1, shape[dim]);
  }
  AtenTensorHandle made;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      int64_t(shape.size()), shape.data(), strides.data(), code_of(dtype), aoti_torch_device_type_cpu(), 0, &made));
  return Tensor(made);
}

inline Tensor new_like(const Tensor& like) {
  return new_tensor(like, like.size(like.dim() - 1), like.scalar_type());
}

}  // namespace cutaway
