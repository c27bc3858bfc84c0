#include "slicot.hpp"

#include <dlfcn.h>

#include <cstddef>
#include <vector>

extern "C" {
char* openblas_get_config();
char* openblas_get_corename();
void openblas_set_num_threads(int count);
void dgemm_();

void sb03md_(const char* dico, const char* job, const char* fact, const char* trana, const int* n, double* a,
             const int* lda, double* u, const int* ldu, double* c, const int* ldc, double* scale, double* sep,
             double* ferr, double* wr, double* wi, int* iwork, double* dwork, const int* ldwork, int* info,
             std::size_t, std::size_t, std::size_t, std::size_t);

void sb02od_(const char* dico, const char* jobb, const char* fact, const char* uplo, const char* jobl,
             const char* sort, const int* n, const int* m, const int* p, const double* a, const int* lda,
             const double* b, const int* ldb, const double* q, const int* ldq, const double* r,
             const int* ldr, const double* l, const int* ldl, double* rcond, double* x, const int* ldx,
             double* alfar, double* alfai, double* beta, double* s, const int* lds, double* t, const int* ldt,
             double* u, const int* ldu, const double* tol, int* iwork, double* dwork, const int* ldwork,
             int* bwork, int* info, std::size_t, std::size_t, std::size_t, std::size_t, std::size_t,
             std::size_t);
}

namespace benchmarks::slicot {

std::string loaded_blas() {
  Dl_info info{};
  const bool found = dladdr(reinterpret_cast<const void*>(&dgemm_), &info) != 0 && info.dli_fname != nullptr;
  return std::string(found ? info.dli_fname : "unknown file") + " (" + openblas_get_config() + ", " +
         openblas_get_corename() + ")";
}

void use_one_thread() {
  openblas_set_num_threads(1);
}

namespace {

std::size_t count(Index n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

struct Lyapunov::Workspace {
  explicit Workspace(Index size)
      : n(static_cast<int>(size)),
        ldwork(8 * n * n + 256),
        A(size, size),
        U(size, size),
        C(size, size),
        wr(count(size)),
        wi(count(size)),
        iwork(count(size * size)),
        dwork(count(ldwork)) {}

  int n;
  int ldwork;
  Dynamic::StateMatrix A, U, C;
  std::vector<double> wr, wi;
  std::vector<int> iwork;
  std::vector<double> dwork;
};

Lyapunov::Lyapunov(Index n) : work_(std::make_unique<Workspace>(n)) {}
Lyapunov::~Lyapunov() = default;

bool Lyapunov::solve(const Dynamic::StateMatrix& F, const Dynamic::StateMatrix& Q) {
  // A'XA - X = scale C, with X in C on exit.
  Workspace& w = *work_;
  w.A = F;
  w.C = -Q;
  double scale = 0;
  double sep = 0;
  double ferr = 0;
  int info = 0;
  sb03md_("D", "X", "N", "N", &w.n, w.A.data(), &w.n, w.U.data(), &w.n, w.C.data(), &w.n, &scale, &sep, &ferr,
          w.wr.data(), w.wi.data(), w.iwork.data(), w.dwork.data(), &w.ldwork, &info, 1, 1, 1, 1);
  if (scale != 1) w.C /= scale;
  return info == 0;
}

const Dynamic::StateMatrix& Lyapunov::P() const {
  return work_->C;
}

struct Riccati::Workspace {
  explicit Workspace(Size size)
      : n(static_cast<int>(size.nx)),
        m(static_cast<int>(size.nu)),
        twice(2 * n),
        pencil(2 * n + m),
        ldwork(16 * pencil * pencil + 256),
        X(n, n),
        S(pencil, pencil),
        T(pencil, twice),
        U(twice, twice),
        alfar(count(twice)),
        alfai(count(twice)),
        beta(count(twice)),
        dwork(count(ldwork)),
        iwork(count(pencil)),
        bwork(count(twice)) {}

  int n, m, twice, pencil, ldwork;
  Dynamic::StateMatrix X, S, T, U;
  std::vector<double> alfar, alfai, beta, dwork;
  std::vector<int> iwork, bwork;
};

Riccati::Riccati(Size size) : work_(std::make_unique<Workspace>(size)) {}
Riccati::~Riccati() = default;

bool Riccati::solve(const metalqr::Task<Dynamic>& task) {
  Workspace& w = *work_;
  const int one = 1;
  const double tolerance = 0;
  double rcond = 0;
  int info = 0;
  sb02od_("D", "B", "N", "U", "Z", "S", &w.n, &w.m, &w.n, task.A().data(), &w.n, task.B().data(), &w.n,
          task.Q().data(), &w.n, task.R().data(), &w.m, nullptr, &one, &rcond, w.X.data(), &w.n,
          w.alfar.data(), w.alfai.data(), w.beta.data(), w.S.data(), &w.pencil, w.T.data(), &w.pencil,
          w.U.data(), &w.twice, &tolerance, w.iwork.data(), w.dwork.data(), &w.ldwork, w.bwork.data(), &info,
          1, 1, 1, 1, 1, 1);
  return info == 0;
}

const Dynamic::StateMatrix& Riccati::P() const {
  return work_->X;
}

}  // namespace benchmarks::slicot
