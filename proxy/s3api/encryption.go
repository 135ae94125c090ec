package s3api

import (
	"bytes"
	"net/http"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/intake"
)

// putBucketEncryption serves PutBucketEncryption. It answers when every proxy
// obeys the new rule.
func (s *API) putBucketEncryption(w http.ResponseWriter, r *intake.Request) error {
	err := s.encryption.SetRule(r.Context(), s.reader(r), r.Bucket, func() (bucketconfig.Rule, error) {
		body, err := s.in.Document(r)
		if err != nil {
			return bucketconfig.Rule{}, err
		}
		rule, err := bucketconfig.ParseXML(bytes.NewReader(body))
		if err != nil {
			return rule, err
		}
		r.Aims(map[string][]string{"algorithm": {string(rule.Algorithm)}, "key": {rule.KeyName()}})
		return rule, r.Restate()
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// getBucketEncryption serves GetBucketEncryption.
func (s *API) getBucketEncryption(w http.ResponseWriter, r *intake.Request) error {
	rule, err := s.encryption.Rule(r.Context(), s.reader(r), r.Bucket)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, rule.XML())
	return nil
}

// deleteBucketEncryption serves DeleteBucketEncryption. It answers when every
// proxy has forgotten the rule.
func (s *API) deleteBucketEncryption(w http.ResponseWriter, r *intake.Request) error {
	if err := s.encryption.DropRule(r.Context(), s.reader(r), r.Bucket); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
