#include <metalqr/federated/agent_memory.hpp>

#include "catch.hpp"

namespace fed = metalqr::federated;

TEST_CASE("what an agent proposes becomes its state when the report of that round leaves, and not before") {
  fed::AgentMemory<int> memory(2, 7);
  memory.propose(0, 0, 8);
  CHECK(memory[0] == 7);
  memory.accept(0, 0);
  CHECK(memory[0] == 8);
  CHECK(memory[1] == 7);
}

TEST_CASE("work that is thrown away leaves nothing in the memory") {
  fed::AgentMemory<int> memory(1, 0);
  memory.propose(0, 3, 1);
  memory.propose(0, 5, 2);
  memory.accept(0, 3);
  CHECK(memory[0] == 0);
  memory.accept(0, 5);
  CHECK(memory[0] == 2);
}

TEST_CASE("a proposal is accepted once") {
  fed::AgentMemory<int> memory(1, 0);
  memory.propose(0, 0, 1);
  memory.accept(0, 0);
  memory.accept(0, 0);
  memory.accept(0, 1);
  CHECK(memory[0] == 1);
  const fed::AgentMemory<int> untouched(1);
  CHECK(untouched[0] == 0);
}

TEST_CASE("a state that is put back takes the place of the last, and of what was proposed") {
  fed::AgentMemory<int> memory(2, 7);
  memory.propose(0, 3, 8);
  memory.set(0, 5);
  CHECK(memory[0] == 5);
  memory.accept(0, 3);
  CHECK(memory[0] == 5);
  CHECK(memory[1] == 7);
}
