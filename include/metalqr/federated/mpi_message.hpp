#pragma once

/// @file
/// The messages between the ranks of a federated run, as bytes: nothing that comes out of one is used before
/// it was checked.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/bytes.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/federated/message.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// What a message is. Rank 0 sends the first four, the others the next four, and who cannot take part, or not
/// any more, the last one.
enum class Mail : std::uint32_t {
  open = 1,
  work,
  question,
  stop,
  hello,
  report,
  verdict,
  failure,
  withdrawal
};

/// The beginning of every message.
struct MailHead {
  static constexpr std::uint64_t mark = 0x6d65'7461'6c71'7231;  // "metalqr1"; reversed in other byte orders

  std::uint64_t run = 0;  // its number, so that nothing of an earlier one is taken for this one's
  Mail kind = Mail::open;
};

/// A run begins: the shape of its gains, its number of agents, and its unit of time.
struct OpenMail {
  Index rows = 0;
  Index cols = 0;
  Index agents = 0;
  double tick = 0;  // seconds
};
/// A rank owns agents: the first one's number, and the costs that they accept.
template <class Backend>
struct HelloMail {
  Index first = 0;
  std::vector<typename Backend::Scalar> limits;
};
/// What an agent is to do at a gain.
template <class Backend>
struct OrderMail {
  Index agent = 0;
  Index number = 0;    // of the piece of work, or of the question
  Index version = 0;   // of the gain of a piece of work
  double ticks = 0;    // after which the answer is sent at the earliest
  Index reported = 0;  // the last piece of work of which the report was taken; negative: none
  typename Backend::Gain gain{};
};
/// The end of a run: of each of the rank's agents, the last piece of work of which the report was taken.
struct StopMail {
  Index first = 0;
  std::vector<Index> reported;
};
template <class Backend>
struct ReportMail {
  Index agent = 0;
  Index number = 0;  // of the piece of work
  Report<Backend> report{};
};
template <class Backend>
struct VerdictMail {
  Index agent = 0;
  Index number = 0;  // of the question
  typename Backend::Scalar cost{};
};
struct FailureMail {
  Index agent = 0;
  std::string message;
};
/// A rank is in no run, or not any more. Rank 0's begins with the number 0, as there is no run then.
struct WithdrawalMail {
  std::string message;
};

inline ByteWriter begin_mail(std::uint64_t run, Mail kind) {
  ByteWriter writer;
  writer.put(MailHead::mark);
  writer.put(run);
  writer.put(static_cast<std::uint32_t>(kind));
  return writer;
}
/// @throws ParseError for what is no message of a run.
inline MailHead read_head(ByteReader& reader) {
  if (reader.get<std::uint64_t>() != MailHead::mark) {
    throw ParseError("message: expected one of a federated run, got something else");
  }
  MailHead head{.run = reader.get<std::uint64_t>()};
  const auto kind = reader.get<std::uint32_t>();
  if (kind < static_cast<std::uint32_t>(Mail::open) || kind > static_cast<std::uint32_t>(Mail::withdrawal)) {
    throw ParseError("message: expected a kind from 1 to 9, got " + std::to_string(kind));
  }
  head.kind = static_cast<Mail>(kind);
  return head;
}

inline void require_mail(bool holds, const char* what) {
  if (!holds) throw ParseError(std::string("message: expected ") + what);
}

template <MatrixBackend Backend>
void put_matrix(ByteWriter& writer, const typename Backend::Gain& X) {
  writer.put(static_cast<std::int64_t>(Backend::rows(X)));
  writer.put(static_cast<std::int64_t>(Backend::cols(X)));
  writer.put_entries<Backend>(X);
}
/// Reads the last matrix of a message into `X`; whether it has its shape, else `X` stays.
/// @throws ParseError if its entries are not what is left of the message.
template <MatrixBackend Backend>
bool get_last_matrix(ByteReader& reader, typename Backend::Gain& X) {
  const Index rows = reader.get<std::int64_t>();
  const Index cols = reader.get<std::int64_t>();
  const auto left = static_cast<Index>(reader.left() / sizeof(typename Backend::Scalar));
  // Divided, not multiplied: a product of two of a stranger's numbers may overflow.
  const bool fits = rows > 0 && cols > 0 && left / rows == cols && rows * cols == left &&
                    reader.left() % sizeof(typename Backend::Scalar) == 0;
  require_mail(fits, "as many entries as the shape says");
  if (rows != Backend::rows(X) || cols != Backend::cols(X)) return false;
  reader.get_entries<Backend>(X);
  reader.require_end();
  return true;
}

inline Bytes to_mail(std::uint64_t run, const OpenMail& mail) {
  ByteWriter writer = begin_mail(run, Mail::open);
  writer.put(mail);
  return writer.take();
}
inline OpenMail read_open(ByteReader& reader) {
  const auto mail = reader.get<OpenMail>();
  reader.require_end();
  require_mail(mail.rows > 0 && mail.cols > 0, "a shape");
  require_mail(std::isfinite(mail.tick) && mail.tick > 0, "a positive number of seconds");
  return mail;
}

template <MatrixBackend Backend>
Bytes to_mail(std::uint64_t run, const HelloMail<Backend>& mail) {
  ByteWriter writer = begin_mail(run, Mail::hello);
  writer.put(mail.first);
  writer.put(static_cast<std::uint64_t>(mail.limits.size()));
  for (const auto limit : mail.limits) writer.put(limit);
  return writer.take();
}
/// @param agents number of all.
template <MatrixBackend Backend>
HelloMail<Backend> read_hello(ByteReader& reader, Index agents) {
  using Scalar = typename Backend::Scalar;
  HelloMail<Backend> mail{.first = reader.get<Index>(), .limits = {}};
  const auto count = reader.get<std::uint64_t>();
  require_mail(reader.left() % sizeof(Scalar) == 0 && count == reader.left() / sizeof(Scalar),
               "as many limits as agents");
  require_mail(mail.first >= 0 && mail.first <= agents &&
                   count <= static_cast<std::uint64_t>(agents - mail.first) && count > 0,
               "agents of the run");
  for (std::uint64_t i = 0; i < count; ++i) {
    mail.limits.push_back(reader.get<Scalar>());
    require_mail(mail.limits.back() == mail.limits.back(), "limits that are numbers");
  }
  return mail;
}

template <MatrixBackend Backend>
Bytes to_mail(std::uint64_t run, Mail kind, const OrderMail<Backend>& mail) {
  ByteWriter writer = begin_mail(run, kind);
  writer.put(mail.agent);
  writer.put(mail.number);
  writer.put(mail.version);
  writer.put(mail.ticks);
  writer.put(mail.reported);
  put_matrix<Backend>(writer, mail.gain);
  return writer.take();
}
/// @param shape a matrix of the shape of gains.
template <MatrixBackend Backend>
OrderMail<Backend> read_order(ByteReader& reader, const typename Backend::Gain& shape) {
  OrderMail<Backend> mail{.agent = reader.get<Index>(),
                          .number = reader.get<Index>(),
                          .version = reader.get<Index>(),
                          .ticks = reader.get<double>(),
                          .reported = reader.get<Index>(),
                          .gain = shape};
  require_mail(mail.ticks >= 0, "a time >= 0");
  require_mail(get_last_matrix<Backend>(reader, mail.gain), "a gain of the run's shape");
  return mail;
}

inline Bytes to_mail(std::uint64_t run, const StopMail& mail) {
  ByteWriter writer = begin_mail(run, Mail::stop);
  writer.put(mail.first);
  for (const Index reported : mail.reported) writer.put(reported);
  return writer.take();
}
inline StopMail read_stop(ByteReader& reader) {
  StopMail mail{.first = reader.get<Index>(), .reported = {}};
  while (reader.left() > 0) mail.reported.push_back(reader.get<Index>());
  return mail;
}

template <MatrixBackend Backend>
Bytes to_mail(std::uint64_t run, const ReportMail<Backend>& mail) {
  ByteWriter writer = begin_mail(run, Mail::report);
  writer.put(mail.agent);
  writer.put(mail.number);
  writer.put(mail.report.version);
  writer.put(mail.report.cost);
  writer.put(mail.report.weight);
  put_matrix<Backend>(writer, mail.report.estimate);
  return writer.take();
}
/// A report of another shape comes out as one of zeros without a weight, which servers refuse.
/// @param shape a matrix of the shape of gains.
template <MatrixBackend Backend>
ReportMail<Backend> read_report(ByteReader& reader, const typename Backend::Gain& shape) {
  ReportMail<Backend> mail{.agent = reader.get<Index>(), .number = reader.get<Index>()};
  mail.report = {.agent = mail.agent,
                 .version = reader.get<Index>(),
                 .estimate = Backend::zero_like(shape),
                 .cost = reader.get<typename Backend::Scalar>(),
                 .weight = reader.get<double>()};
  if (!get_last_matrix<Backend>(reader, mail.report.estimate)) {
    mail.report.weight = std::numeric_limits<double>::quiet_NaN();
  }
  return mail;
}

template <MatrixBackend Backend>
Bytes to_mail(std::uint64_t run, const VerdictMail<Backend>& mail) {
  ByteWriter writer = begin_mail(run, Mail::verdict);
  writer.put(mail.agent);
  writer.put(mail.number);
  writer.put(mail.cost);
  return writer.take();
}
template <MatrixBackend Backend>
VerdictMail<Backend> read_verdict(ByteReader& reader) {
  const VerdictMail<Backend> mail{.agent = reader.get<Index>(),
                                  .number = reader.get<Index>(),
                                  .cost = reader.get<typename Backend::Scalar>()};
  reader.require_end();
  return mail;
}

inline Bytes to_mail(std::uint64_t run, const FailureMail& mail) {
  ByteWriter writer = begin_mail(run, Mail::failure);
  writer.put(mail.agent);
  writer.put_text(mail.message);
  return writer.take();
}
inline FailureMail read_failure(ByteReader& reader) {
  FailureMail mail{.agent = reader.get<Index>(), .message = reader.get_text()};
  reader.require_end();
  return mail;
}

inline Bytes to_mail(std::uint64_t run, const WithdrawalMail& mail) {
  ByteWriter writer = begin_mail(run, Mail::withdrawal);
  writer.put_text(mail.message);
  return writer.take();
}
inline WithdrawalMail read_withdrawal(ByteReader& reader) {
  WithdrawalMail mail{.message = reader.get_text()};
  reader.require_end();
  return mail;
}

}  // namespace metalqr::inline METALQR_ABI::federated::detail
