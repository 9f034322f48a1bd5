// Floating point of 32, 16 and 8 bits, and int8: conversions that round as torch's do (to nearest, ties to even).
//
// Everything is without branches, on integers, so that the compiler makes vectors of the loops around it on any
// machine. The 16-bit and 8-bit formats are stored as what they are to most processors: integers.

#pragma once

#include <cstdint>
#include <cstring>

// A call in a loop would keep it from becoming vectors.
#define CUTAWAY_INLINE inline __attribute__((always_inline))

namespace cutaway {

struct BFloat16 {  // 8 bits of exponent, 7 of mantissa
  uint16_t bits;
};

struct Float16 {  // IEEE binary16: 5 bits of exponent, 10 of mantissa
  uint16_t bits;
};

struct Float8 {  // e4m3fn (Micikevicius et al., FP8 formats for deep learning, 2022): 4 and 3 bits, no infinity
  uint8_t bits;
};

CUTAWAY_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

CUTAWAY_INLINE float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

CUTAWAY_INLINE float to_float(float value) {
  return value;
}

CUTAWAY_INLINE float to_float(BFloat16 value) {
  return float_of(uint32_t(value.bits) << 16);
}

CUTAWAY_INLINE float to_float(Float16 value) {
  uint32_t magnitude = value.bits & 0x7fffu;
  uint32_t normal = (magnitude << 13) + (112u << 23);           // exponents are biased by 15 there, by 127 here
  uint32_t special = (magnitude << 13) | 0x7f800000u;           // infinity and NaN
  uint32_t tiny = bits_of(float_of(magnitude | (126u << 23)) - 0.5f);  // below 2^-14: a multiple of 2^-24
  uint32_t result = magnitude >= 0x7c00u ? special : magnitude < 0x0400u ? tiny : normal;
  return float_of(result | (uint32_t(value.bits & 0x8000u) << 16));
}

template <class T>
T from_float(float value);

template <>
CUTAWAY_INLINE float from_float<float>(float value) {
  return value;
}

template <>
CUTAWAY_INLINE BFloat16 from_float<BFloat16>(float value) {
  uint32_t bits = bits_of(value);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded)};
}

template <>
CUTAWAY_INLINE Float16 from_float<Float16>(float value) {
  uint32_t sign = (bits_of(value) >> 16) & 0x8000u;
  uint32_t magnitude = bits_of(value) & 0x7fffffffu;
  uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t tiny = bits_of(float_of(magnitude) + 0.5f) - (126u << 23);  // the addition rounds to multiples of 2^-24
  uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  uint32_t result = magnitude >= (143u << 23) ? special : magnitude < (113u << 23) ? tiny : normal;
  return {uint16_t(result | sign)};
}

// What torch's clamp and cast give one after the other: beyond 448 is 448, NaN stays NaN.
template <>
CUTAWAY_INLINE Float8 from_float<Float8>(float value) {
  value = value > 448.0f ? 448.0f : value;
  value = value < -448.0f ? -448.0f : value;
  uint32_t sign = (bits_of(value) >> 24) & 0x80u;
  uint32_t magnitude = bits_of(value) & 0x7fffffffu;
  uint32_t normal = (magnitude - (120u << 23) + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20;
  uint32_t tiny = bits_of(float_of(magnitude) + 16384.0f) - (141u << 23);  // below 2^-6: multiples of 2^-9
  uint32_t result = magnitude > 0x7f800000u ? 0x7fu : magnitude < (121u << 23) ? tiny : normal;
  return {uint8_t(result | sign)};
}

// Rounded, then clamped; NaN becomes 0.
template <>
CUTAWAY_INLINE int8_t from_float<int8_t>(float value) {
  value = value > 127.0f ? 127.0f : value;
  value = value < -128.0f ? -128.0f : value;
  value = value == value ? value : 0.0f;
  // Adding 1.5 * 2^23 leaves no bit below 1: the addition rounds, half to even, and the sum's last byte is the number.
  return int8_t(bits_of(value + 12582912.0f) & 0xffu);
}

// The value that is left when it is stored as a T.
template <class T>
CUTAWAY_INLINE float rounded(float value) {
  return to_float(from_float<T>(value));
}

template <>
CUTAWAY_INLINE float rounded<float>(float value) {
  return value;
}

// The same two without going through 16 bits, which costs a vector more than the rounding.
template <>
CUTAWAY_INLINE float rounded<BFloat16>(float value) {
  uint32_t bits = bits_of(value);
  uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  return float_of((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : nearest);
}

template <>
CUTAWAY_INLINE float rounded<Float16>(float value) {
  uint32_t magnitude = bits_of(value) & 0x7fffffffu;
  uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u)) & 0xffffe000u;
  uint32_t tiny = bits_of((float_of(magnitude) + 0.5f) - 0.5f);
  uint32_t finite = magnitude < (113u << 23) ? tiny : normal >= (143u << 23) ? 0x7f800000u : normal;
  return float_of((magnitude > 0x7f800000u ? magnitude : finite) | (bits_of(value) & 0x80000000u));
}

// a * b + c, rounded once where the processor has an instruction for it. For approximations only: elsewhere what torch
// computes in two steps is computed in two steps.
CUTAWAY_INLINE float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

}  // namespace cutaway
