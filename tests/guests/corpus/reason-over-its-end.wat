(drop (call $verdict (i32.const 0) (i32.const 65535) (i32.const 2)))
(return (i32.const 1024))
