;; A policy in text. `guest.rs` fills the gaps in braces: left as they are filled by default, it is honest; filled otherwise, it is not.
;;
;; Asked about a request without a route it charges one unit of `limit`, 1000 a minute, on `key`, and says what came of it. A route makes
;; it run the text of the gap `evil` first. Where a charge is a fault it fails with the text of the fault; for a request of another cost than 1 it allows
;; with that text as its reason.
(component
  (import "tollgate:policy/types@0.1.0" (instance $types
    (type $text-pairs (list (tuple string string)))
    (type $the-request (record (field "tenant" string) (field "subject" string) (field "route" string) (field "cost" u64)
      (field "now-ms" u64) (field "attributes" $text-pairs)))
    (export "request" (type (eq $the-request)))
    (type $the-verdict (variant (case "allow") (case "delay" u64) (case "deny") (case "other" string)))
    (export "verdict" (type $verdict (eq $the-verdict)))
    (type $the-decision (record (field "verdict" $verdict) (field "reason" string) (field "attributes" $text-pairs)))
    (export "decision" (type (eq $the-decision)))
    (type $the-description (record (field "name" string) (field "version" string) (field "configuration-schema" string)))
    (export "description" (type (eq $the-description)))))
  (import "tollgate:policy/counters@0.1.0" (instance $counters
    (type $the-algorithm (variant (case "fixed-window") (case "sliding-window") (case "token-bucket") (case "concurrency")
      (case "calendar" string) (case "other" string)))
    (export "algorithm" (type $algorithm (eq $the-algorithm)))
    (type $the-limit (record (field "id" string) (field "algorithm" $algorithm) (field "max" u64) (field "window-ms" u64)
      (field "burst" u64)))
    (export "limit" (type $limit (eq $the-limit)))
    (type $the-mode (variant (case "enforce") (case "shadow") (case "peek") (case "other" string)))
    (export "mode" (type $mode (eq $the-mode)))
    (type $the-charge (record (field "limit" $limit) (field "key" string) (field "cost" u64) (field "mode" $mode)
      (field "hold-ms" (option u64))))
    (export "charge" (type $charge (eq $the-charge)))
    (type $the-outcome (record (field "allowed" bool) (field "remaining" u64) (field "reset-after-ms" u64)
      (field "retry-after-ms" (option u64))))
    (export "outcome" (type $outcome (eq $the-outcome)))
    (type $the-fault (variant (case "unavailable") (case "timeout") (case "denied" string) (case "invalid" string)
      (case "over-budget" string) (case "other" string)))
    (export "fault" (type $fault (eq $the-fault)))
    (export "charge-all" (func (param "charges" (list $charge)) (result (result (list $outcome) (error $fault)))))))
  (import "tollgate:policy/log@0.1.0" (instance $log
    (type $the-level (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $the-level)))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (alias export $counters "charge-all" (func $counters-charge-all))
  (alias export $log "write" (func $log-write))
  {component}

  (core module $libc
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 32768))
    ;; Never gives anything back: begins anew where it has come to the end of the first page.
    (func (export "realloc") (param i32 i32 i32) (param $bytes i32) (result i32)
      (local $at i32)
      {realloc}
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (if (i32.gt_u (i32.add (local.get $at) (local.get $bytes)) (i32.const 65536)) (then (local.set $at (i32.const 32768))))
      (global.set $next (i32.add (local.get $at) (local.get $bytes)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $charge-all (canon lower (func $counters-charge-all) (memory $memory) (realloc $realloc)))
  (core func $write (canon lower (func $log-write) (memory $memory)))
  (type $token (resource (rep i32)))
  (core func $token (canon resource.new $token))

  (core module $guest
    (import "libc" "memory" (memory 1))
    (import "host" "charge-all" (func $charge-all (param i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32)))
    (import "host" "token" (func $token (param i32) (result i32)))
    (global $calls (mut i32) (i32.const 0))
    (global $reads-out (mut i32) (i32.const 0))
    (data (i32.const 2048) "{name}")
    (data (i32.const 2304) "1.0limitkey")
    {module}

    ;; Writes the honest charge number $index of a list at 4096, and answers its address: the fields follow it at
    ;; +0 id, +8 algorithm, +24 max, +32 window, +40 burst, +48 key, +56 cost, +64 mode, +80 hold.
    (func $charge (param $index i32) (result i32)
      (local $at i32)
      (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $index) (i32.const 96))))
      (memory.fill (local.get $at) (i32.const 0) (i32.const 96))
      (i32.store (local.get $at) (i32.const 2307))
      (i32.store offset=4 (local.get $at) (i32.const 5))
      (i64.store offset=24 (local.get $at) (i64.const 1000))
      (i64.store offset=32 (local.get $at) (i64.const 60000))
      (i64.store offset=40 (local.get $at) (i64.const 1000))
      (i32.store offset=48 (local.get $at) (i32.const 2312))
      (i32.store offset=52 (local.get $at) (i32.const 3))
      (i64.store offset=56 (local.get $at) (i64.const 1))
      (local.get $at))

    ;; Charges the first $count charges of the list, and decides by what comes of the first.
    (func $decided (param $count i32) (result i32)
      (call $charge-all (i32.const 4096) (local.get $count) (i32.const 1152))
      (if (i32.eqz (i32.load8_u (i32.const 1152))) (then
        (return (call $verdict
          (select (i32.const 0) (i32.const 2) (i32.load8_u (i32.load (i32.const 1156)))) (i32.const 0) (i32.const 0)))))
      (if (i32.lt_u (i32.load8_u (i32.const 1156)) (i32.const 2)) (then
        (return (call $fail (i32.const 0) (i32.const 0)))))
      (if (global.get $reads-out) (then
        (return (call $verdict (i32.const 0) (i32.load (i32.const 1160)) (i32.load (i32.const 1164))))))
      (call $fail (i32.load (i32.const 1160)) (i32.load (i32.const 1164))))

    ;; The address of a decision: 0 allows, 2 denies.
    (func $verdict (param $verdict i32) (param $reason i32) (param $bytes i32) (result i32)
      (memory.fill (i32.const 1024) (i32.const 0) (i32.const 40))
      (i32.store (i32.const 1032) (local.get $verdict))
      (i32.store (i32.const 1048) (local.get $reason))
      (i32.store (i32.const 1052) (local.get $bytes))
      (i32.const 1024))

    ;; The address of an error.
    (func $fail (param $text i32) (param $bytes i32) (result i32)
      (i32.store (i32.const 1024) (i32.const 1))
      (i32.store (i32.const 1032) (local.get $text))
      (i32.store (i32.const 1036) (local.get $bytes))
      (i32.const 1024))

    ;; The address of one problem with the configuration.
    (func $problem (param $text i32) (param $bytes i32) (result i32)
      (i32.store (i32.const 1120) (i32.const 1))
      (i32.store (i32.const 1124) (i32.const 1132))
      (i32.store (i32.const 1128) (i32.const 1))
      (i32.store (i32.const 1132) (local.get $text))
      (i32.store (i32.const 1136) (local.get $bytes))
      (i32.const 1120))

    (func (export "describe") (result i32)
      {describe}
      (i32.store (i32.const 1088) (i32.const 2048))
      (i32.store (i32.const 1092) (i32.const {name-bytes}))
      (i32.store (i32.const 1096) (i32.const 2304))
      (i32.store (i32.const 1100) (i32.const 3))
      (i32.const 1088))
    (func (export "configure") (param $text i32) (param $bytes i32) (result i32)
      {configure}
      (i32.store (i32.const 1120) (i32.const 0))
      (i32.const 1120))
    (func (export "decide") (param $tenant i32) (param $tenant-bytes i32) (param $subject i32) (param $subject-bytes i32)
      (param $route i32) (param $route-bytes i32) (param $cost i64) (param $now i64) (param $attributes i32) (param $count i32)
      (result i32)
      (local $at i32)
      (global.set $reads-out (i64.ne (local.get $cost) (i64.const 1)))
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (local.get $route-bytes) (then {evil}))
      (drop (call $charge (i32.const 0)))
      (call $decided (i32.const 1)))
    (func (export "after") (param i32) {after}))
  (core instance $guest (instantiate $guest
    (with "libc" (instance $libc))
    (with "host" (instance (export "charge-all" (func $charge-all)) (export "write" (func $write)) (export "token" (func $token))))))

  (alias core export $guest "describe" (core func $guest-describe))
  (alias core export $guest "configure" (core func $guest-configure))
  (alias core export $guest "decide" (core func $guest-decide))
  (alias core export $guest "after" (core func $guest-after))
  (alias export $types "request" (type $request))
  (alias export $types "decision" (type $decision))
  (alias export $types "description" (type $description))
  (func $describe (result $description) (canon lift (core func $guest-describe) (memory $memory)))
  (func $configure (param "config" string) (result (result (error (list string))))
    (canon lift (core func $guest-configure) (memory $memory) (realloc $realloc)))
  (func $decide (param "request" $request) (result (result $decision (error string)))
    (canon lift (core func $guest-decide) (memory $memory) (realloc $realloc)
      (post-return $guest-after)))
  (export "describe" (func $describe))
  (export "configure" (func $configure))
  (export "decide" (func $decide)))
