#pragma once

#include <metalqr/core/version.hpp>

/// Whether the second translation unit saw this version. The type of the argument, and so the function's
/// name, is that of the first one's settings.
bool is_version_of_second(const metalqr::Version& version);
