#pragma once

/// @file
/// Families of tasks around a nominal one: both generators.

#include <metalqr/systems/family.hpp>
#include <metalqr/systems/masked_family.hpp>
#include <metalqr/systems/perturbed_family.hpp>
