(drop (call $charge (i32.const 0)))
(i32.store8 (i32.const 4176) (i32.const 2)) (i64.store (i32.const 4184) (i64.const -1))
(return (call $decided (i32.const 1)))
