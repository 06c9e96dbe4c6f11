;; How many primes there are below `input`, by trying every divisor: work that takes time.
(module
  (func $is-prime (param $n i64) (result i64)
    (local $divisor i64)
    (local.set $divisor (i64.const 2))
    (block $done
      (loop $next
        (br_if $done (i64.ge_s (local.get $divisor) (local.get $n)))
        (if (i64.eqz (i64.rem_s (local.get $n) (local.get $divisor))) (then (return (i64.const 0))))
        (local.set $divisor (i64.add (local.get $divisor) (i64.const 1)))
        (br $next)))
    (i64.const 1))
  (func (export "run") (param $input i64) (result i64)
    (local $n i64)
    (local $count i64)
    (local.set $n (i64.const 2))
    (block $done
      (loop $next
        (br_if $done (i64.ge_s (local.get $n) (local.get $input)))
        (local.set $count (i64.add (local.get $count) (call $is-prime (local.get $n))))
        (local.set $n (i64.add (local.get $n) (i64.const 1)))
        (br $next)))
    (local.get $count)))
