;; A policy that exports none of the five interfaces.
(component
  (core module $guest
    (memory (export "memory") 1)
    (data (i32.const 0) "decides-nothing1.0.0")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      i32.const 4096)
    (func (export "describe") (result i32)
      ;; Name, version, summary and schema: where each is, and how long.
      (i32.store (i32.const 1024) (i32.const 0))
      (i32.store (i32.const 1028) (i32.const 15))
      (i32.store (i32.const 1032) (i32.const 15))
      (i32.store (i32.const 1036) (i32.const 5))
      i32.const 1024)
    (func (export "configure") (param i32 i32) (result i32)
      ;; The memory behind 2048 is zero: the result is no error.
      i32.const 2048))
  (core instance $guest (instantiate $guest))
  (alias core export $guest "memory" (core memory $memory))
  (alias core export $guest "realloc" (core func $realloc))
  (type $description (record
    (field "name" string) (field "version" string) (field "summary" string) (field "parameters" string)))
  (type $describe (func (result $description)))
  (func $describe (type $describe) (canon lift (core func $guest "describe") (memory $memory)))
  (type $configure (func (param "parameters" string) (result (result (error string)))))
  (func $configure (type $configure)
    (canon lift (core func $guest "configure") (memory $memory) (realloc $realloc)))
  ;; Only a component can export functions whose types have names.
  (component $plugin
    (type $record (record
      (field "name" string) (field "version" string) (field "summary" string) (field "parameters" string)))
    (import "description" (type $description (eq $record)))
    (import "describe" (func $describe (result $description)))
    (import "configure" (func $configure (param "parameters" string) (result (result (error string)))))
    (export $exported "description" (type $record))
    (export "describe" (func $describe) (func (result $exported)))
    (export "configure" (func $configure)))
  (instance $plugin (instantiate $plugin
    (with "description" (type $description))
    (with "describe" (func $describe))
    (with "configure" (func $configure))))
  (export "sociable:policy/plugin@0.1.0" (instance $plugin)))
