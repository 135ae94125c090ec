package server

import "time"

// Expires returns when the server's certificate ends.
func (s *Server) Expires() time.Time {
	if pairs := s.state.Load().tls.Certificates; len(pairs) > 0 && pairs[0].Leaf != nil {
		return pairs[0].Leaf.NotAfter
	}
	return time.Time{}
}
