#pragma once

/// @file
/// Everything but the optional parts: include this one header, or the single headers that you need.

#include <metalqr/core/version.hpp>
