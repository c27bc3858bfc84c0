#include "instances.hpp"

TEST_INSTANCES()
