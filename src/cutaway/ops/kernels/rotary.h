// rotary_embedding.

#pragma once

#include <tuple>

#include "rows.h"

namespace cutaway {

constexpr int64_t ROTARY_ENTRIES = 16384;

// Rotated heads of one token. A row is a token, or one of its heads.
struct Turned {
  Turned(const Tensor& x, int64_t tokens, int64_t head_size)
      : out(new_like(x)), from(x), to(out), heads(from.width / head_size), each(tokens ? from.count / tokens : 0) {
    if (from.width % head_size || (tokens && from.count % tokens)) {
      refuse("query or key has not whole heads, or not one position a token");
    }
  }

  Tensor out;
  Rows from, to;
  int64_t heads;  // of a row
  int64_t each;   // rows of a token
};

inline std::vector<int64_t> positions_of(const Tensor& positions, int64_t limit) {
  std::vector<int64_t> found;
  if (positions.numel() == 0) {
    return found;
  }
  Rows rows(positions);
  found.reserve(size_t(rows.count * rows.width));
  auto take = [&](auto type) {
    for (int64_t row = 0; row < rows.count; ++row) {
      for (int64_t i = 0; i < rows.width; ++i) {
        found.push_back(int64_t(rows.at<decltype(type)>(row)[i * rows.step]));
      }
    }
  };
  if (positions.scalar_type() == ScalarType::Long) {
    take(int64_t{});
  } else if (positions.scalar_type() == ScalarType::Int) {
    take(int32_t{});
  } else {
    refuse("positions are neither int64 nor int32");
  }
  for (int64_t position : found) {
    if (position < 0 || position >= limit) {
      refuse("position " + std::to_string(position) + " is not in the cache, which has " + std::to_string(limit));
    }
  }
  return found;
}

// One head, as float32, into `to`; `cos` and `sin` have `half` entries each.
template <bool is_neox>
inline void turn(
    const float* __restrict head,
    const float* __restrict cos,
    const float* __restrict sin,
    int64_t half,
    float* __restrict to) {
  for (int64_t i = 0; i < half; ++i) {
    float first = head[is_neox ? i : 2 * i];
    float second = head[is_neox ? half + i : 2 * i + 1];
    to[is_neox ? i : 2 * i] = first * cos[i] - second * sin[i];
    to[is_neox ? half + i : 2 * i + 1] = second * cos[i] + first * sin[i];
  }
}

template <class X>
inline void turn_token(
    const Turned& x,
    int64_t token,
    int64_t head_size,
    int64_t rotary,
    bool is_neox,
    const float* angles,
    float* head,
    float* turned) {
  const float *cos = angles, *sin = angles + rotary / 2;
  for (int64_t row = token * x.each; row < (token + 1) * x.each; ++row) {
    const X* from = x.from.at<X>(row);
    X* to = x.to.at<X>(row);
    for (int64_t number = 0; number < x.heads; ++number) {
      load(from + number * head_size * x.from.step, x.from.step, head_size, head);
      is_neox ? turn<true>(head, cos, sin, rotary / 2, turned) : turn<false>(head, cos, sin, rotary / 2, turned);
      std::copy(head + rotary, head + head_size, turned + rotary);
      store(turned, head_size, to + number * head_size);
    }
  }
}

inline std::tuple<Tensor, Tensor> rotary_embedding(
    const Tensor& positions,
    const Tensor& query,
    const Tensor& key,
    const Tensor& cos_sin_cache,
    int64_t head_size,
    bool is_neox) {
  Rows cache(cos_sin_cache);
  int64_t rotary = cache.width;
  if (head_size < 1 || rotary % 2 || rotary > head_size || query.scalar_type() != key.scalar_type()) {
    refuse("the cache is wider than a head, or of an odd width, or query and key differ in dtype");
  }
  auto places = positions_of(positions, cache.count);
  int64_t tokens = int64_t(places.size());
  Turned queries(query, tokens, head_size), keys(key, tokens, head_size);
  int64_t entries = tokens ? (query.numel() + key.numel()) / tokens : 0;
  with_float_type(query.scalar_type(), [&](auto type) {
    using X = decltype(type);
    parallel_rows(tokens, entries, ROTARY_ENTRIES, [&](int64_t begin, int64_t end) {
      auto angles = floats(rotary), head = floats(head_size), turned = floats(head_size);
      for (int64_t token = begin; token < end; ++token) {
        with_float_type(cos_sin_cache.scalar_type(), [&](auto kind) {
          load(cache.at<decltype(kind)>(places[size_t(token)]), cache.step, rotary, angles.get());
        });
        for (const Turned* x : {&queries, &keys}) {
          turn_token<X>(*x, token, head_size, rotary, is_neox, angles.get(), head.get(), turned.get());
        }
      }
    });
  });
  return {queries.out, keys.out};
}

}  // namespace cutaway
