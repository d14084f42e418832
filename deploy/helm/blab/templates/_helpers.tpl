{{- define "blab.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "blab.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "blab.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "blab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "blab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Settings of both process types: secrets as files, the rest as values. */}}
{{- define "blab.environment" -}}
{{- range $variable, $key := .Values.secret.keys }}
- name: {{ $variable }}_FILE
  value: /run/secrets/blab/{{ $key }}
{{- end }}
{{- range $variable, $value := .Values.settings }}
- name: {{ $variable }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.models.claim }}
- name: BLAB_MODELS_DIR
  value: /opt/models
{{- end }}
{{- end }}

{{- define "blab.mounts" -}}
- name: secrets
  mountPath: /run/secrets/blab
  readOnly: true
- name: data
  mountPath: /var/lib/blab
- name: tmp
  mountPath: /tmp
{{- if .Values.models.claim }}
- name: models
  mountPath: /opt/models
{{- end }}
{{- end }}

{{- define "blab.volumes" -}}
- name: secrets
  secret:
    secretName: {{ required "secret.name: the Secret with the addresses of the services" .Values.secret.name }}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- if .Values.models.claim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.models.claim }}
{{- end }}
{{- end }}
