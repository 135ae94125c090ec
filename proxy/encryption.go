package proxy

import (
	"bytes"
	"net/http"

	"github.com/bucketseal/bucketseal/bucketconfig"
)

// putBucketEncryption serves PutBucketEncryption. It answers when every proxy
// obeys the new rule.
func (s *Server) putBucketEncryption(w http.ResponseWriter, r *request) error {
	err := s.vault.SetRule(r.Context(), s.reader(r), r.bucket, func() (bucketconfig.Rule, error) {
		body, err := s.document(r)
		if err != nil {
			return bucketconfig.Rule{}, err
		}
		return bucketconfig.ParseXML(bytes.NewReader(body))
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// getBucketEncryption serves GetBucketEncryption.
func (s *Server) getBucketEncryption(w http.ResponseWriter, r *request) error {
	rule, err := s.vault.Rule(r.Context(), s.reader(r), r.bucket)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, rule.XML())
	return nil
}

// deleteBucketEncryption serves DeleteBucketEncryption. It answers when every
// proxy has forgotten the rule.
func (s *Server) deleteBucketEncryption(w http.ResponseWriter, r *request) error {
	if err := s.vault.DropRule(r.Context(), s.reader(r), r.bucket); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
