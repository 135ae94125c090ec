package proxy

import "net/http"

// putBucketPolicy serves PutBucketPolicy. One that demands something of encryption is
// answered when every proxy obeys it.
func (s *Server) putBucketPolicy(w http.ResponseWriter, r *request) error {
	document, err := s.document(r)
	if err != nil {
		return err
	}
	resp, err := s.forwardDocument(r, document) //nolint:bodyclose // forwardAnswer closes it
	if err != nil {
		return err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		s.vault.PolicyChanged(r.Context(), r.bucket, document)
	}
	return s.forwardAnswer(w, resp)
}

// deleteBucketPolicy serves DeleteBucketPolicy: other proxies may go on demanding
// for a lease.
func (s *Server) deleteBucketPolicy(w http.ResponseWriter, r *request) error {
	err := s.forward(w, r)
	s.vault.PolicyChanged(r.Context(), r.bucket, nil)
	return err
}
