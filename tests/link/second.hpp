#pragma once

/// The minor version that the second translation unit saw.
int minor_number_of_second();
