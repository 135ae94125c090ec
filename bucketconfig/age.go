package bucketconfig

import "time"

// Age returns how old this process's copy of the index of rules is; ok is false before it has
// one. While requests are served, or readiness is probed, it is renewed all the time.
func (r *Rules) Age() (age time.Duration, ok bool) { return r.index.Age() }
