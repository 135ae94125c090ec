package register

import "time"

// Age returns how old the copy is that answers: the time since the call was sent that brought
// it. ok is false before there is one. It is for operators: whether the copy still answers,
// Get decides.
func (r *Register[T]) Age() (age time.Duration, ok bool) {
	s := r.cur.Load()
	if s == nil {
		return 0, false
	}
	return r.clock.Now().Since(s.start), true
}
